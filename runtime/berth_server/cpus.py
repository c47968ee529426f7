"""How many CPUs this container may use: its affinity, and its cgroup's quota."""

import os
from pathlib import Path
from typing import Final

# cgroup v2, as a container sees its own; "max 100000" or "<quota> <period>" in microseconds.
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def available(quota: Path = _QUOTA) -> int:
    """At least one. Without a quota, the CPUs that the container may be scheduled on."""
    allowed = len(os.sched_getaffinity(0))
    try:
        granted, period = quota.read_text().split()
        return max(1, min(allowed, int(granted) // int(period)))
    except (OSError, ValueError):
        return allowed  # no quota, or cgroup v1, whose nodes Kubernetes no longer supports
