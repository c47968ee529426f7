"""Which CPUs each rank of an engine on CPU computes with. Pure."""

from dataclasses import dataclass
from typing import Final

VARIABLE: Final = "VLLM_CPU_OMP_THREADS_BIND"
_NONE: Final = "nobind"
# As vLLM's own auto does: one core is left to the API server and the scheduler, which poll.
_RESERVED_CPUS: Final = 1


@dataclass(frozen=True)
class Cpus:
    """`ids` are those that a container may run on, neighbours beside each other.

    `count` is how many of them at once: at least one, at most all.
    """

    ids: tuple[int, ...]
    count: int


def environment(cpus: Cpus, ranks: int) -> dict[str, str]:
    """For as many `ranks` as there are CPUs, or fewer."""
    threads = max(1, (cpus.count - _RESERVED_CPUS) // ranks)
    return {VARIABLE: _spelled(cpus, ranks), "OMP_NUM_THREADS": str(threads)}


def _spelled(cpus: Cpus, ranks: int) -> str:
    """Any CPU for one rank, else a group of its own for each.

    vLLM's own choice, auto, gives each rank the next NUMA node and ends where there are fewer
    (utils/ompmultiprocessing.py, 0.32); two pods on one machine would share the first nodes and
    leave the others idle. Ranks must not share a CPU: a step is as slow as the slower of the two.
    """
    if ranks == 1:
        return _NONE  # the kubelet's CPU manager may still pin the pod
    return "|".join(",".join(map(str, group)) for group in groups(cpus, ranks))


def groups(cpus: Cpus, ranks: int) -> list[tuple[int, ...]]:
    """As many as `ranks`, disjoint and of one size, as large as can be.

    A quota does not make them smaller: pods with one would all be bound to the first CPUs.
    """
    size = len(cpus.ids) // ranks
    return [cpus.ids[rank * size : (rank + 1) * size] for rank in range(ranks)]
