"""What the engine's processes hold in memory, from /proc."""

import re
from collections.abc import Iterator
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
    found = [_proportional_kib(entry) for entry, _ in _processes(session, proc)]
    return sum(found) * _KIB or None


def alive(session: int, proc: Path = _PROC) -> list[int]:
    """The processes of `session` that can hold memory: a zombie has none."""
    found = _processes(session, proc)
    return [int(entry.name) for entry, state in found if state not in _ENDED]


def _processes(session: int, proc: Path) -> Iterator[tuple[Path, str]]:
    """Those of `session`, each with the letter of its state."""
    for entry in proc.iterdir():
        if entry.name.isdigit():
            of_session, state = _stat(entry)
            if of_session == session:
                yield entry, state


def _stat(entry: Path) -> tuple[int | None, str]:
    """Session and state; no session once it has ended while we looked."""
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        return int(fields[_SESSION_FIELD]), fields[0]
    except (OSError, IndexError, ValueError):
        return None, ""


def _proportional_kib(entry: Path) -> int:
    try:
        match = _PROPORTIONAL.search((entry / "smaps_rollup").read_text())
    except OSError:
        return 0  # it ended while we looked
    return int(match[1]) if match else 0
