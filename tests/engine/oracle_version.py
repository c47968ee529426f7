"""Runs inside the engine's Python: says which engine it is, and gives back what it was given."""

import json
import sys
from importlib import metadata

from vllm.platforms import current_platform

if __name__ == "__main__":
    given = json.load(sys.stdin)
    print("noise of a library")
    found = {"engine": metadata.version("vllm"), "device": current_platform.device_type}
    print(json.dumps(given | found))
