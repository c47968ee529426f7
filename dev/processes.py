"""Background programs that outlive the command that started them.

A pid file holds the pid *and* the process's start time, so that a pid which the kernel has given
to someone else meanwhile is never signalled.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev import progress
from dev.errors import DevError

_STOP_SIGNALS = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))  # each with seconds to obey
LOG_TAIL_LINES = 20

# Fields of /proc/<pid>/stat, counted from the one that follows the name.
_STATE_FIELD = 0
_START_TIME_FIELD = 19
_ZOMBIE = "Z"


@dataclass(frozen=True)
class Daemon:
    """One program of a cluster: `<folder>/<name>.pid` and `<folder>/<name>.log`."""

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def start(self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        if self.pid() is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in argv],
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pid_file.write_text(f"{process.pid} {_start_time(process.pid)}\n")

    def pid(self) -> int | None:
        """The pid while the program that we started runs, else None."""
        try:
            pid, started = self._pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if _start_time(int(pid)) == started else None

    def check(self) -> None:
        """Raise with the end of its log when the program has ended."""
        if self.pid() is None:
            raise DevError(f"{self.name} has ended; the last lines of {self.log}:\n{self._tail()}")

    def stop(self) -> None:
        for signal_number, patience in _STOP_SIGNALS:
            pid = self.pid()
            if pid is None:
                break
            os.kill(pid, signal_number)
            with contextlib.suppress(DevError):
                progress.wait_for(f"{self.name} to end", self._ended, seconds=patience)
        self._pid_file.unlink(missing_ok=True)

    def _ended(self) -> bool:
        return self.pid() is None

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def _start_time(pid: int) -> str | None:
    """Clock ticks since boot at which a process started; None when it has ended."""
    _reap(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[_STATE_FIELD] == _ZOMBIE else fields[_START_TIME_FIELD]


def _reap(pid: int) -> None:
    """Collect the process if it is an ended child of ours, or it would look alive for ever."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
