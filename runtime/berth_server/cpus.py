"""Which CPUs this container may use: its affinity's, as many as its cgroup's quota grants."""

import os
from pathlib import Path
from typing import Final

from berth_server.binding import Cpus

# cgroup v2, as a container sees its own; "max 100000" or "<quota> <period>" in microseconds.
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
_TOPOLOGY: Final = Path("/sys/devices/system/cpu")
_INFO: Final = Path("/proc/cpuinfo")
# The lines by which a compiler tells one CPU from another, as x86 and Arm call them.
_INSTRUCTIONS: Final = ("model name", "flags", "Features", "CPU part")


def available(quota: Path = _QUOTA, topology: Path = _TOPOLOGY) -> Cpus:
    """In the order of NUMA nodes and cores, so that a run of them is a good share for one rank."""
    allowed = sorted(os.sched_getaffinity(0), key=lambda cpu: (*_place(topology, cpu), cpu))
    try:
        granted, period = quota.read_text().split()
        count = max(1, min(len(allowed), int(granted) // int(period)))
    except (OSError, ValueError):
        count = len(allowed)  # no quota, or cgroup v1, whose nodes Kubernetes no longer supports
    return Cpus(tuple(allowed), count)


def kind(info: Path = _INFO) -> str:
    """Alike where code that was compiled for this CPU runs; empty where nothing is known."""
    try:
        lines = info.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return "\n".join(sorted({one for one in lines if one.startswith(_INSTRUCTIONS)}))


def _place(topology: Path, cpu: int) -> tuple[int, int]:
    """The NUMA node and the first CPU of the core; zeros where the machine does not say."""
    folder = topology / f"cpu{cpu}"
    nodes = [int(node.name.removeprefix("node")) for node in folder.glob("node[0-9]*")]
    try:
        siblings = (folder / "topology" / "thread_siblings_list").read_text()
        core = int(siblings.replace("-", ",").split(",")[0])
    except (OSError, ValueError):
        core = 0
    return min(nodes, default=0), core
