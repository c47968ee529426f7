"""CPU time and memory of whole process trees, and what others took of the CPU meanwhile."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_KIB = 1024
# Fields of /proc/<pid>/stat, counted from the one that follows the name.
_PARENT = 1
_OWN_TICKS = (11, 12)  # utime, stime
_REAPED_TICKS = (13, 14)  # of children that have ended
# Fields of the first line of /proc/stat.
_BUSY_COLUMNS = ("user", "nice", "system", "steal")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True)
class Clocks:
    """CPU seconds so far: of named process trees, of all that is ours, and of the whole machine."""

    at: float  # monotonic seconds
    trees: Mapping[str, float]
    ours: float  # this process and all that it has started
    machine: float  # user, nice, system and what the host took; interrupts belong to nobody


@dataclass(frozen=True)
class Spent:
    """Between two readings."""

    seconds: float
    trees: Mapping[str, float]  # CPU seconds
    foreign_cores: float  # what nothing of ours used

    def cores(self, name: str) -> float:
        return self.trees[name] / self.seconds


def read(trees: Mapping[str, int]) -> Clocks:
    """`trees` are the process ids of roots, by name."""
    processes = _processes()

    def seconds(root: int) -> float:
        return sum(processes[pid].seconds for pid in tree(processes, root))

    return Clocks(
        at=time.monotonic(),
        trees={name: seconds(root) for name, root in trees.items()},
        ours=seconds(os.getpid()),
        machine=machine_seconds((_PROC / "stat").read_text()),
    )


def between(before: Clocks, after: Clocks) -> Spent:
    seconds = after.at - before.at
    trees = {name: max(0.0, after.trees[name] - before.trees[name]) for name in after.trees}
    foreign = (after.machine - before.machine) - (after.ours - before.ours)
    return Spent(seconds, trees, max(0.0, foreign) / seconds)


@dataclass(frozen=True)
class Process:
    parent: int
    seconds: float  # CPU, with that of children which have ended


def tree(processes: Mapping[int, Process], root: int) -> list[int]:
    """The root and all that descend from it; empty when the root has ended."""
    found = [root] if root in processes else []
    for pid in found:
        found.extend(child for child, process in processes.items() if process.parent == pid)
    return found


def parse_process(stat: str) -> Process:
    """One /proc/<pid>/stat; the name in it may hold spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    ticks = sum(int(fields[column]) for column in (*_OWN_TICKS, *_REAPED_TICKS))
    return Process(int(fields[_PARENT]), ticks / _TICK)


def machine_seconds(stat: str) -> float:
    """Busy CPU seconds of all cores together since boot, from /proc/stat."""
    ticks = dict(zip(_COLUMNS, map(int, stat.splitlines()[0].split()[1:]), strict=False))
    return sum(ticks[column] for column in _BUSY_COLUMNS) / _TICK


def memory_mb(root: int) -> tuple[float, float]:
    """(resident now, at its peak) of a tree; pages that its processes share count for each."""
    statuses = [_read(pid, "status") for pid in tree(_processes(), root)]
    return (
        sum(parse_status(status, "VmRSS") for status in statuses),
        sum(parse_status(status, "VmHWM") for status in statuses),
    )


def parse_status(status: str, field: str) -> float:
    """A size of /proc/<pid>/status in MB of 10^6 bytes; 0 where the kernel gives none."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * _KIB / 1e6
    return 0.0


def _processes() -> dict[int, Process]:
    stats = {pid: _read(pid, "stat") for pid in _pids()}
    return {pid: parse_process(stat) for pid, stat in stats.items() if stat}


def _pids() -> Iterable[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _read(pid: int, what: str) -> str:
    try:
        return (_PROC / str(pid) / what).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
