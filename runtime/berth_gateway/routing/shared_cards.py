"""The cards of a pool's pods, and whose engines lie on each: as the pool's status says it.

For people, never for a request: who takes traffic is for an engine's EndpointSlice to say.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from berth_api.pool import TAKES_ROOM, PoolCard, PoolEngine, PoolStatus


@dataclass(frozen=True, slots=True)
class Share:
    """What one engine has of a card."""

    models: tuple[str, ...]  # metadata.name of each that it serves
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class SharedCard:
    """One GPU of one pod; where there is none, the pod's memory."""

    namespace: str
    pool: str
    hardware: str  # the accelerator profile's name
    pod: str
    index: int  # in the pod
    total: int  # bytes
    shares: tuple[Share, ...]


def shared_cards(
    namespace: str, pool: str, hardware: str, status: PoolStatus
) -> tuple[SharedCard, ...]:
    return tuple(
        SharedCard(
            namespace=namespace,
            pool=pool,
            hardware=hardware,
            pod=card.pod,
            index=card.index,
            total=card.total_bytes,
            shares=tuple(_shares(status.engines, card)),
        )
        for card in status.cards
    )


def _shares(engines: Iterable[PoolEngine], card: PoolCard) -> Iterable[Share]:
    """An engine that names no card is on CPU, in a pod that has one."""
    for one in engines:
        here = one.pod == card.pod and card.index in (one.cards or (0,))
        if here and one.state in TAKES_ROOM:
            yield Share(tuple(one.models), one.memory_bytes)
