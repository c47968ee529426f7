"""A name for a JSON value: equal values have equal names, whatever the order of their keys."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
