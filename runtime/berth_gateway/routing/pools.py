"""ModelPools, and whose engines lie on which of their cards: as a pool's status says it.

For people, never for a request: who takes traffic is for an engine's EndpointSlice to say.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from berth_api.pool import TAKES_ROOM, PoolEngine, PoolStatus


@dataclass(frozen=True, slots=True)
class Pool:
    namespace: str
    name: str
    hardware: str  # the accelerator profile's name
    status: PoolStatus


@dataclass(frozen=True, slots=True)
class Share:
    """What one engine has of a card."""

    models: tuple[str, ...]  # metadata.name of each that asks for it; none: it is on its way out
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU of one pod; where there is none, the pod's memory."""

    pool: Pool
    pod: str
    index: int  # in the pod
    total: int  # bytes that engines may share
    shares: tuple[Share, ...]


def cards(pool: Pool) -> list[Card]:
    """By pod and index."""
    shares = _shares(pool.status.engines)
    told = sorted(pool.status.cards, key=lambda one: (one.pod, one.index))
    return [
        Card(pool, one.pod, one.index, one.total_bytes, tuple(shares[one.pod, one.index]))
        for one in told
    ]


def _shares(engines: Iterable[PoolEngine]) -> dict[tuple[str, int], list[Share]]:
    """By pod and card. An engine that names no card is on CPU, in a pod that has one."""
    found: dict[tuple[str, int], list[Share]] = defaultdict(list)
    for one in engines:
        if one.pod is not None and one.state in TAKES_ROOM:
            for index in one.cards or (0,):
                found[one.pod, index].append(Share(tuple(one.models), one.memory_bytes))
    return found
