"""What the engine's processes hold in memory, from /proc."""

import re
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
# /proc/<pid>/stat after the command's closing parenthesis: state, ppid, pgrp, session.
_SESSION_FIELD: Final = 3
_ENDED: Final = frozenset("ZX")
_PROPORTIONAL: Final = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
_KIB: Final = 1024


def resident_bytes(session: int, proc: Path = _PROC) -> int | None:
    """Sum of the proportional set sizes of the processes of `session`.

    Forked processes share most of their pages; RSS would count those in each of them.
    """
    found = [_proportional_kib(entry, session) for entry in proc.iterdir() if entry.name.isdigit()]
    return sum(found) * _KIB or None


def alive(session: int, proc: Path = _PROC) -> list[int]:
    """The processes of `session` that can hold memory: a zombie has none."""
    found = (entry for entry in proc.iterdir() if entry.name.isdigit())
    return [int(entry.name) for entry in found if _runs(entry, session)]


def _runs(entry: Path, session: int) -> bool:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        return int(fields[_SESSION_FIELD]) == session and fields[0] not in _ENDED
    except (OSError, IndexError, ValueError):
        return False  # it ended while we looked


def _proportional_kib(entry: Path, session: int) -> int:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        if int(fields[_SESSION_FIELD]) != session:
            return 0
        match = _PROPORTIONAL.search((entry / "smaps_rollup").read_text())
        return int(match[1]) if match else 0
    except (OSError, IndexError, ValueError):
        return 0  # it ended while we looked
