"""Whom an engine displaces in one pod: the set that costs least, of those it may displace.

The search is exact among the EXACT_AMONG that cost least alone: an engine rarely needs the room of
more than a few, and a pod holds few. Where these do not make room, one after the other is taken,
the cheapest first, and those that proved needless are let off again. So room that can be made is
always found, and a decision stays within milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf
from typing import Final, NamedTuple

from berth_operator.core.residency.holds import gives_way, hold
from berth_operator.core.residency.pool import Pool, Resident
from berth_operator.core.residency.rooms import Fit, Room, fit
from berth_operator.core.residency.wishes import Wish

EXACT_AMONG: Final = 8  # so 256 sets at most

Victims = tuple[Resident, ...]


class Price(NamedTuple):
    """Of a set, in the order in which it counts. One more in the set makes no part of it less."""

    busy: int
    priority: float  # the highest
    load_seconds: float  # to bring all of them back
    recent: float  # the latest moment at which one of them was asked for


@dataclass(frozen=True)
class Swap:
    """Who goes, and where the wanting engine then has its room."""

    price: Price
    fit: Fit
    victims: Victims

    @property
    def order(self) -> tuple[Price, Fit, tuple[str, ...]]:
        return (self.price, self.fit, tuple(one.engine for one in self.victims))


@dataclass(frozen=True)
class Search:
    pool: Pool
    room: Room
    wanting: Wish
    closed: frozenset[int]  # cards that are kept for another

    def swap(self, victims: Victims) -> Swap | None:
        room = self.room.without(victims, self.pool)
        found = fit(room, self.wanting.engine, self.closed)
        return None if found is None else Swap(self.price(victims), found, victims)

    def price(self, victims: Victims) -> Price:
        paid = [one for one in victims if not gives_way(self.pool, self.wanting, one)]
        engines = [self.pool.engine[one.engine] for one in paid]
        asked = [self.pool.asked(one.engine) for one in paid]
        return Price(
            sum(one.busy for one in asked),
            max((one.priority for one in engines), default=-inf),
            fsum(one.load_seconds for one in engines),
            max(
                (-inf if one.last_wanted is None else one.last_wanted for one in asked),
                default=-inf,
            ),
        )


def swap(pool: Pool, room: Room, wanting: Wish, closed: frozenset[int]) -> Swap | None:
    """The cheapest in this pod; None: too little would come free now."""
    search = Search(pool, room, wanting, closed)
    may_go = [one for one in in_pod(pool, room, closed) if hold(pool, wanting, one) is None]
    may_go.sort(key=lambda one: (search.price((one,)), one.engine))
    if search.swap(tuple(may_go)) is None:
        return None
    return _cheapest(search, may_go[:EXACT_AMONG]) or _one_by_one(search, may_go)


def in_pod(pool: Pool, room: Room, closed: frozenset[int]) -> list[Resident]:
    """Those that are ordered in it and are on none of the closed cards."""
    here = (one for one in pool.residents if one.pod == room.pod and one.stays)
    return [one for one in here if closed.isdisjoint(one.cards)]


def _cheapest(
    search: Search, among: Sequence[Resident], chosen: Victims = (), best: Swap | None = None
) -> Swap | None:
    """A set that makes room is not added to, nor one that costs more than the best."""
    for at, one in enumerate(among):
        victims = (*chosen, one)
        if best is not None and search.price(victims) > best.price:
            continue
        found = search.swap(victims)
        if found is None:
            best = _cheapest(search, among[at + 1 :], victims, best)
        elif best is None or found.order < best.order:
            best = found
    return best


def _one_by_one(search: Search, may_go: Sequence[Resident]) -> Swap | None:
    """All of them make room, so this ends with a set that does."""
    victims: Victims = ()
    for one in may_go:
        victims = (*victims, one)
        if search.swap(victims):
            break
    for one in reversed(victims):
        fewer = tuple(other for other in victims if other is not one)
        if search.swap(fewer):
            victims = fewer
    return search.swap(victims)
