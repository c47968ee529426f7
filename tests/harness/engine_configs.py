"""An engine's configuration, for tests that care about a field or two of it."""

import sys
from pathlib import Path
from typing import Any, Final

from berth_api.server import EngineConfig

USUAL: Final[dict[str, Any]] = {
    "name": "tiny",
    "command": ["vllm", "serve"],
    "device": "cuda",
    "port": 8000,
    "model_dir": "/berth/model",
    "dtype": "bfloat16",
    "max_model_len": 4096,
    "max_num_seqs": 64,
}


def engine_config(**changes: Any) -> EngineConfig:
    return EngineConfig(**(USUAL | changes))


def standin_config(port: int, model_dir: Path, **changes: Any) -> EngineConfig:
    """Of the stand-in engine, as its own process."""
    standin = {
        "command": [sys.executable, "-m", "standins.engine"],
        "max_model_len": 2048,
        "max_num_seqs": 4,
    }
    return engine_config(port=port, model_dir=str(model_dir), **(standin | changes))
