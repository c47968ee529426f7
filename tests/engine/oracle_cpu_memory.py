"""Runs inside the engine's Python: the memory that a command line and an environment ask for on CPU.

Reads `{"argv": [...], "environment": {...}, "files": {name: text}}`; the files are those of a model
and the command's own is replaced by them. Nothing of vLLM is imported before the environment is set.
"""

import json
import os
import sys
import tempfile
from pathlib import Path


def asked(argv: list[str], files: dict[str, str]) -> dict:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    with tempfile.TemporaryDirectory() as model:
        for name, text in files.items():
            (Path(model) / name).write_text(text)
        arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(argv[3:])
        arguments.model = model
        cache = AsyncEngineArgs.from_cli_args(arguments).create_engine_config().cache_config
    return {"kv_cache_memory_bytes": cache.kv_cache_memory_bytes, "block_size": cache.block_size}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    os.environ.update(given["environment"])
    print(json.dumps(asked(given["argv"], given["files"])))
