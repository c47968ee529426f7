"""The container's termination message: how a pod's end reaches the operator."""

import logging
from pathlib import Path
from typing import Final

from pydantic import BaseModel

_log = logging.getLogger("berth.server")

DEFAULT_PATH: Final = Path("/dev/termination-log")
# What the kubelet keeps of it.
MAX_BYTES: Final = 4096


def write(path: Path, message: BaseModel) -> None:
    """`message` as JSON. A path that cannot be written costs the message, not the exit code."""
    text = encode(message)
    try:
        path.write_bytes(text)
    except OSError as error:
        _log.warning("no termination message: %s: %s", error, text.decode())


def encode(message: BaseModel) -> bytes:
    return message.model_dump_json(exclude_none=True, exclude_defaults=True).encode()
