"""What is free on each card of each pod, and where an engine fits best.

Two accounts: what nobody is *to have*, which an order may claim, and what of it is free already.
A pod carries out an order that claims more than is free once what it replaces has gone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from berth_operator.core.residency.pool import Engine, PodRoom, Pool, Resident
from berth_operator.core.residency.verdicts import Refused

NO_CARDS: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Room:
    """One pod's, in bytes of each card."""

    pod: str
    free: tuple[int, ...]  # that nobody is to have
    at_once: tuple[int, ...]  # of it, less what those have that drain
    places: int | None  # for engines beside those that are to be there; None: any number

    def less(self, resident: Resident, share: int) -> "Room":
        """With `share` of each of its cards claimed."""
        return replace(
            self,
            free=_changed(self.free, resident.cards, -share),
            at_once=_changed(self.at_once, resident.cards, -share),
            places=None if self.places is None else self.places - 1,
        )

    def takes(self, cards: Iterable[int], share: int) -> bool:
        """Whether these very cards are there, and have it free."""
        return all(card < len(self.free) and self.free[card] >= share for card in cards)

    def without(self, gone: Iterable[Resident], pool: Pool) -> "Room":
        """Once those that are evicted have given back what they are to have."""
        free, places = self.free, self.places
        for one in gone:
            free = _changed(free, one.cards, share(pool, one))
            places = None if places is None else places + 1
        return replace(self, free=free, places=places)


class Fit(NamedTuple):
    """Where an engine would go. The smallest is the best."""

    waits: bool  # for one that drains
    leftover: int  # bytes of its cards that are of no use to a larger one
    free: int  # bytes of the whole pod: what is open already is opened no further
    pod: str
    cards: tuple[int, ...]


def rooms(pool: Pool) -> Mapping[str, Room]:
    """Of each pod that takes orders."""
    found = {one.uid: empty(pool, one) for one in pool.pods if one.takes_orders}
    for one in pool.residents:
        room = found.get(one.pod)
        if room is not None:
            found[one.pod] = _with(pool, room, one)
    return found


def share(pool: Pool, resident: Resident) -> int:
    """Bytes of each of its cards that it is to have."""
    engine = pool.engine.get(resident.engine)
    return max(resident.withheld, engine.card_bytes if engine else 0)


def fit(room: Room, engine: Engine, closed: frozenset[int] = NO_CARDS) -> Fit | None:
    """The cards of the pod that it fills best, none of `closed`; None: it has no room for it."""
    if room.places is not None and room.places <= 0:
        return None
    need = engine.card_bytes
    enough = sorted(
        (room.at_once[card] < need, free - need, card)
        for card, free in enumerate(room.free)
        if free >= need and card not in closed
    )
    if len(enough) < engine.cards:
        return None
    chosen = enough[: engine.cards]
    return Fit(
        any(waits for waits, _, _ in chosen),
        sum(leftover for _, leftover, _ in chosen),
        sum(room.free),
        room.pod,
        tuple(sorted(card for _, _, card in chosen)),
    )


def refused(pool: Pool, engine: Engine) -> Refused | None:
    """Where not even an empty pod would do. A pool without pods refuses nothing."""
    pods = [one.cards for one in pool.pods if not one.terminating]
    if not pods or any(_holds(cards, engine) for cards in pods):
        return None
    enough = [sorted(cards)[-engine.cards] for cards in pods if len(cards) >= engine.cards]
    most = max(len(cards) for cards in pods)
    return Refused(engine.id, engine.card_bytes, engine.cards, max(enough, default=0), most)


def could_hold(pod: PodRoom, engine: Engine) -> bool:
    return _holds(pod.cards, engine)


def _holds(cards: tuple[int, ...], engine: Engine) -> bool:
    return sum(size >= engine.card_bytes for size in cards) >= engine.cards


def empty(pool: Pool, pod: PodRoom) -> Room:
    """With nobody there."""
    return Room(pod.uid, pod.cards, pod.cards, pool.policy.max_engines)


def _with(pool: Pool, room: Room, resident: Resident) -> Room:
    if resident.stays:
        return room.less(resident, share(pool, resident))
    at_once = _changed(room.at_once, resident.cards, -resident.withheld)
    if resident.state == "Draining":
        return replace(room, at_once=at_once)
    # What a failed one has not given back may never come.
    free = _changed(room.free, resident.cards, -resident.withheld)
    return replace(room, free=free, at_once=at_once)


def _changed(sizes: tuple[int, ...], cards: tuple[int, ...], by: int) -> tuple[int, ...]:
    """A card that the pod does not have any more changes nothing."""
    return tuple(size + by if card in cards else size for card, size in enumerate(sizes))
