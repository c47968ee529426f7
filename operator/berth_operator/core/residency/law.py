"""Which engines the pods of a pool hold: who stays, who goes, and who waits for whom.

Pure: from one observation to one decision. It is made in steps on the observation itself, each as
if the one before had been carried out: those that go by themselves go, then each that is wanted
gets free room or the room of others, in the order of their turns, until none can be given more. So
a decision that is made again on what it has led to changes nothing, and an operator that is
restarted in between goes on where the last stopped.

The bound: `starvation_seconds`, and then for every one that has waited longer, and for the engine
itself, at most the longest request, load and minimum residency. `docs/design/0020-residency.md`
has the reasons and the proof; `bench/residency` plays it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from berth_operator.core.residency import leaving, openings, rooms, victims, wishes
from berth_operator.core.residency.holds import gives_way
from berth_operator.core.residency.openings import Cards
from berth_operator.core.residency.pool import Engine, PodRoom, Pool, Resident
from berth_operator.core.residency.rooms import Fit, Room
from berth_operator.core.residency.verdicts import (
    Decision,
    Kept,
    LeaveReason,
    Leaves,
    Loads,
    PodOrders,
    Refused,
    Waits,
    Wanted,
)
from berth_operator.core.residency.victims import Swap
from berth_operator.core.residency.wishes import Wish

SOONEST_SECONDS: Final = 0.05  # between two looks: a clock's last digits are no reason for one


@dataclass(frozen=True)
class Step:
    """How far a decision is: the pool as it will be, and what was told on the way."""

    pool: Pool
    leaves: tuple[Leaves, ...]
    loads: Mapping[str, Loads] = field(default_factory=dict)  # by engine


def decide(pool: Pool) -> Decision:
    step = Step(*leaving.left(pool))
    waits: tuple[Waits, ...] = ()
    for _ in range(len(pool.engines) + 1):  # each but the last gives one of them a place
        further, waits = _turns(step)
        if further is None:
            break
        step = further
    waiting = (*waits, *_barred(step.pool))
    return Decision(
        pods=tuple(_orders(step, one) for one in sorted(pool.pods, key=lambda one: one.uid)),
        leaves=tuple(sorted(step.leaves, key=lambda one: (one.engine, one.pod))),
        waits=tuple(sorted(waiting, key=lambda one: one.engine)),
        look_again_seconds=_look_again(step.pool, waits),
    )


# Who comes


def _turns(step: Step) -> tuple[Step | None, tuple[Waits, ...]]:
    """The first that gets a place; None if none does, and what each waits for."""
    found, kept, waits = rooms.rooms(step.pool), Cards(), []
    for wish in wishes.wanting(step.pool):
        served = _served(step, found, wish, kept)
        if served is not None:
            return served, ()
        each = (openings.opening(step.pool, room, wish, kept) for room in found.values())
        at = openings.soonest(one for one in each if one is not None)
        waits.append(openings.waits(step.pool, found.values(), wish, kept, at))
        if wish.starved and at is not None:
            kept = kept.also(at.pod, at.cards, wish.engine.id)
    return None, tuple(waits)


def _served(step: Step, found: Mapping[str, Room], wish: Wish, kept: Cards) -> Step | None:
    """Back where it drains, into free room, or into the room of others."""
    of_it = [one for one in step.pool.residents if one.drains_of(wish.engine.id)]
    drains = [one for one in of_it if one.pod in found]
    back = next((one for one in drains if _fits_back(step.pool, found[one.pod], one, kept)), None)
    if back is not None:
        return _undrained(step, wish, back)
    # A pod has each engine once, so it comes back to another card when it has gone from its own.
    others = [one for one in found.values() if all(one.pod != gone.pod for gone in drains)]
    fits = (rooms.fit(one, wish.engine, kept.of(one.pod)) for one in others)
    free = min((one for one in fits if one is not None), default=None)
    if free is not None:
        return _loaded(step, wish, free)
    swaps = (victims.swap(step.pool, one, wish, kept.of(one.pod)) for one in others)
    found_swaps = (one for one in swaps if one is not None)
    best = min(found_swaps, key=lambda one: one.order, default=None)
    return None if best is None else _swapped(step, wish, best)


def _fits_back(pool: Pool, room: Room, resident: Resident, kept: Cards) -> bool:
    if room.places == 0 or not kept.of(room.pod).isdisjoint(resident.cards):
        return False
    return room.takes(resident.cards, rooms.share(pool, resident))


def _undrained(step: Step, wish: Wish, back: Resident) -> Step:
    """It counts as a load until its pod says that it serves."""
    now = replace(back, state="Loading")
    after = tuple(now if one == back else one for one in step.pool.residents)
    stays = tuple(one for one in step.leaves if (one.engine, one.pod) != (back.engine, back.pod))
    told = Loads(wish.why, undrained=True)
    return Step(replace(step.pool, residents=after), stays, _with(step.loads, wish, told))


def _loaded(step: Step, wish: Wish, at: Fit, instead_of: tuple[str, ...] = ()) -> Step:
    new = Resident(wish.engine.id, at.pod, at.cards, "Loading", since=step.pool.now)
    pool = replace(step.pool, residents=(*step.pool.residents, new))
    return Step(pool, step.leaves, _with(step.loads, wish, Loads(wish.why, instead_of)))


def _swapped(step: Step, wish: Wish, swap: Swap) -> Step:
    gone = tuple(
        Leaves(one.engine, one.pod, _why_evicted(step.pool, wish, one), wish.engine.id)
        for one in swap.victims
    )
    rest = Step(
        leaving.told_to_go(step.pool, swap.victims),
        (*step.leaves, *gone),
        {engine: why for engine, why in step.loads.items() if engine not in _engines(swap)},
    )
    return _loaded(rest, wish, swap.fit, tuple(sorted(_engines(swap))))


def _engines(swap: Swap) -> set[str]:
    return {one.engine for one in swap.victims}


def _why_evicted(pool: Pool, wish: Wish, resident: Resident) -> LeaveReason:
    if gives_way(pool, wish, resident):
        return "GivesWay"
    return "Starved" if pool.asked(resident.engine).busy else "Idle"


def _with(loads: Mapping[str, Loads], wish: Wish, told: Loads) -> Mapping[str, Loads]:
    return {**loads, wish.engine.id: told}


# What is told of it


def _orders(step: Step, pod: PodRoom) -> PodOrders:
    here = [one for one in step.pool.residents if one.stays and one.pod == pod.uid]
    return PodOrders(pod.uid, tuple(sorted((_wanted(step, one) for one in here), key=_by_engine)))


def _by_engine(one: Wanted) -> str:
    return one.engine


def _wanted(step: Step, resident: Resident) -> Wanted:
    why = step.loads.get(resident.engine) or _kept(step.pool, resident)
    routed = resident.state == "Serving"
    share = rooms.share(step.pool, resident)
    return Wanted(resident.engine, resident.cards, share, why, routed)


def _kept(pool: Pool, resident: Resident) -> Kept:
    engine = pool.engine.get(resident.engine)
    if engine is None or not pool.pod[resident.pod].takes_orders:
        return Kept("PodNotReady")
    if resident.state == "Loading":
        return Kept("Loading")
    if engine.paused:
        return Kept("Paused")
    if pool.asked(engine.id).busy:
        return Kept("Busy")
    if engine.pinned:
        return Kept("Pinned")
    return Kept("Idle", leaving.keep_alive_end(pool, resident, engine))


def _barred(pool: Pool) -> Iterator[Waits | Refused]:
    """Those that take no turn. That one can never fit is told before anybody asks for it."""
    for engine in pool.engines:
        never = rooms.refused(pool, engine)
        if never is not None and engine.models:
            yield never
        elif engine.id not in pool.home and wishes.blocked(pool, engine) and _asked(pool, engine):
            until = engine.blocked_until
            yield Waits(engine.id, "BackOff", until=until, expected=until)


def _asked(pool: Pool, engine: Engine) -> bool:
    return wishes.wish(pool, engine) is not None


def _look_again(pool: Pool, waits: Iterable[Waits]) -> float | None:
    moments = [*_ends(pool), *_turns_by_age(pool), *(one.until for one in waits)]
    left = [one - pool.now for one in moments if one is not None and one < inf]
    return max(min(left), SOONEST_SECONDS) if left else None


def _ends(pool: Pool) -> Iterator[float | None]:
    """Of keep-alives and of back-offs."""
    for one in pool.home.values():
        engine = pool.engine.get(one.engine)
        if engine is not None and pool.pod[one.pod].takes_orders:
            yield leaving.keep_alive_end(pool, one, engine)
    for engine in pool.engines:
        if wishes.blocked(pool, engine) and _asked(pool, engine):
            yield engine.blocked_until


def _turns_by_age(pool: Pool) -> Iterator[float]:
    """When those that wait come before others."""
    for one in wishes.wanting(pool):
        if not one.starved and one.why != "RollOut":
            yield pool.now + pool.policy.starvation_seconds - one.waited
