"""The processes of a pod on the node that this machine is, to be killed, stopped and signalled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MODULE = b"\0-m\0%s\0"


def pid(pod: dict[str, Any], module: str) -> int:
    """Of the one process of the pod that was started as `python3 -m module`."""
    (found,) = _pids(pod["metadata"]["uid"], _MODULE % module.encode())
    return found


def _pids(uid: str, words: bytes) -> Iterator[int]:
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            inside = f"/pod{uid}/" in (process / "cgroup").read_text()
            if inside and words in (process / "cmdline").read_bytes():
                yield int(process.name)
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
