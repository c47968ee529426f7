"""What the engine's processes hold in memory, from /proc."""

import os
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
# /proc/<pid>/stat after the command's closing parenthesis: state, ppid, pgrp, session.
_SESSION_FIELD: Final = 3
# /proc/<pid>/statm: size, resident, shared, ... in pages.
_RESIDENT_FIELD: Final = 1


def resident_bytes(session: int, proc: Path = _PROC) -> int | None:
    """Sum of the RSS of the processes of `session`; pages that they share count in each."""
    page_bytes = os.sysconf("SC_PAGESIZE")
    pages = [_resident_pages(entry, session) for entry in proc.iterdir() if entry.name.isdigit()]
    return sum(pages) * page_bytes or None


def _resident_pages(entry: Path, session: int) -> int:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        if int(fields[_SESSION_FIELD]) != session:
            return 0
        return int((entry / "statm").read_text().split()[_RESIDENT_FIELD])
    except (OSError, IndexError, ValueError):
        return 0  # it ended while we looked
