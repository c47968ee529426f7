"""When and where room may come free for one that waits, and so what it waits for.

Whoever has waited beyond the bound has the cards where that is soonest kept for it: nothing new is
put there, so that whatever holds it back now is the last that does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from berth_operator.core.residency.holds import Hold, hold
from berth_operator.core.residency.pool import Pool, Resident
from berth_operator.core.residency.rooms import NO_CARDS, Room, could_hold, fit
from berth_operator.core.residency.verdicts import WaitReason, Waits
from berth_operator.core.residency.victims import in_pod
from berth_operator.core.residency.wishes import Wish


@dataclass(frozen=True)
class Cards:
    """Those that are kept for an engine, by pod and card."""

    owners: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def also(self, pod: str, cards: Iterable[int], engine: str) -> "Cards":
        return Cards({**self.owners, **{(pod, card): engine for card in cards}})

    def of(self, pod: str) -> frozenset[int]:
        return frozenset(card for where, card in self.owners if where == pod)


class Opening(NamedTuple):
    """The soonest is the smallest. What is certain comes before what is a guess."""

    uncertain: bool
    until: float
    pod: str
    cards: tuple[int, ...]  # none where it has to be gone from other cards itself
    because: WaitReason
    behind: str  # the last whose hold has to end


def opening(pool: Pool, room: Room, wanting: Wish, kept: Cards) -> Opening | None:
    """In one pod; None where no time brings it."""
    engine, closed = wanting.engine, kept.of(room.pod)
    if any(one.pod == room.pod and one.drains_of(engine.id) for one in pool.residents):
        return Opening(True, pool.now, room.pod, (), "Draining", engine.id)
    gone: list[Resident] = []
    for found, one in _by_end(pool, room, wanting, closed):
        if found.until == inf:
            return None
        gone.append(one)
        place = fit(room.without(gone, pool), engine, closed)
        if place is not None:
            because, until, certain = found
            return Opening(not certain, until, room.pod, place.cards, because, one.engine)
    return None


def soonest(openings: Iterable[Opening]) -> Opening | None:
    return min(openings, key=_order, default=None)


def waits(
    pool: Pool, rooms: Iterable[Room], wanting: Wish, kept: Cards, at: Opening | None
) -> Waits:
    """`at` is the soonest opening, if there is any."""
    engine = wanting.engine
    if at is not None:
        until = None if at.uncertain else at.until
        return Waits(engine.id, at.because, (at.behind,), until, expected=at.until)
    able = [one for one in rooms if could_hold(pool.pod[one.pod], engine)]
    if not able:
        return Waits(engine.id, "NoPod")
    if any(kept.of(one.pod) for one in able):
        return Waits(engine.id, "Reserved", tuple(sorted(set(kept.owners.values()))))
    return _for_ever(pool, able, wanting)


def _for_ever(pool: Pool, able: Iterable[Room], wanting: Wish) -> Waits:
    """What no time ends, and who has it so."""
    held = [found for room in able for found in _by_end(pool, room, wanting, NO_CARDS)]
    endless = sorted((found.because, one.engine) for found, one in held if found.until == inf)
    if not endless:
        return Waits(wanting.engine.id, "NoPod")
    because = endless[0][0]
    return Waits(wanting.engine.id, because, tuple(sorted({who for _, who in endless})))


def _order(one: Opening) -> tuple[bool, float, str]:
    return (one.uncertain, 0.0 if one.uncertain else one.until, one.pod)


def _by_end(
    pool: Pool, room: Room, wanting: Wish, closed: frozenset[int]
) -> list[tuple[Hold, Resident]]:
    """The residents of a pod in the order in which they may be evicted."""
    found = [
        (hold(pool, wanting, one) or Hold("Busy", pool.now), one)
        for one in in_pod(pool, room, closed)
    ]
    return sorted(found, key=lambda one: (not one[0].certain, one[0].until, one[1].engine))
