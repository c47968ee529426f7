"""Berth's law, and those it is measured against, on the same observations.

Ollama's (server/sched.go): first come, first served; one load at a time; room is made by the idle
engine with the shortest session, equal ones by name, and one after the other until there is enough;
where none is idle the first of that order is closed and waited for. LRU is the same with the least
recently used first, and with as many loads at once as there is room for. Both are told of
keep-alives as Berth's is; neither knows a minimum residency. Their sizes are Berth's plans, so that
neither is judged by a guess at memory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from bench.residency.world import Law
from berth_operator.core.residency import leaving, rooms
from berth_operator.core.residency.law import decide
from berth_operator.core.residency.pool import Engine, Pool, Resident
from berth_operator.core.residency.rooms import Fit
from berth_operator.core.residency.verdicts import Decision, Kept, Leaves, PodOrders, Wanted

Order = Callable[[Pool, Resident], tuple[object, ...]]


def evicting(order: Order, *, at_once: bool) -> Law:
    """`at_once`: several loads."""

    def law(pool: Pool) -> Decision:
        now, leaves = leaving.left(pool)
        for engine in _first_come(now):
            if not at_once and any(one.state == "Loading" for one in now.residents):
                break
            now, gone = _placed(now, engine, order)
            leaves = (*leaves, *gone)
        return _decision(now, leaves)

    return law


def _by_session(pool: Pool, one: Resident) -> tuple[object, ...]:
    engine = pool.engine[one.engine]
    session = engine.keep_alive_seconds
    return (float("inf") if session is None else session, engine.id)


def _by_use(pool: Pool, one: Resident) -> tuple[object, ...]:
    return (pool.asked(one.engine).last_wanted or 0.0, one.engine)


LAWS: Mapping[str, Law] = {
    "Berth": decide,
    "Ollama": evicting(_by_session, at_once=False),
    "LRU": evicting(_by_use, at_once=True),
}


def _first_come(pool: Pool) -> list[Engine]:
    away = [one for one in pool.engines if one.id not in pool.home and pool.asked(one.id).held]
    ready = [one for one in away if one.blocked_until is None or one.blocked_until <= pool.now]
    return sorted(ready, key=lambda one: (-pool.asked(one.id).oldest_held_seconds, one.id))


def _placed(pool: Pool, engine: Engine, order: Order) -> tuple[Pool, tuple[Leaves, ...]]:
    """Unchanged where all that may go would not do."""
    gone: list[Resident] = []
    victims = _victims(pool, order)
    while (at := _fit(pool, engine, gone)) is None:
        victim = next(victims, None)
        if victim is None:
            return pool, ()
        gone.append(victim)
    rest = leaving.told_to_go(pool, gone)
    new = Resident(engine.id, at.pod, at.cards, "Loading", pool.now)
    told = tuple(Leaves(one.engine, one.pod, "Idle", engine.id) for one in gone)
    return replace(rest, residents=(*rest.residents, new)), told


def _victims(pool: Pool, order: Order) -> Iterator[Resident]:
    """Whose queue is about to be sent is not asked to go before it is."""
    serving = [one for one in pool.residents if one.state == "Serving"]
    may_go = [one for one in serving if not pool.asked(one.engine).held]
    yield from sorted(may_go, key=lambda one: (pool.asked(one.engine).busy, *order(pool, one)))


def _fit(pool: Pool, engine: Engine, gone: list[Resident]) -> Fit | None:
    drains = {one.pod for one in pool.residents if one.engine == engine.id}
    found = [room for uid, room in rooms.rooms(pool).items() if uid not in drains]
    after = (one.without([each for each in gone if each.pod == one.pod], pool) for one in found)
    fits = (rooms.fit(one, engine) for one in after)
    return min((one for one in fits if one is not None), default=None)


def _decision(pool: Pool, leaves: tuple[Leaves, ...]) -> Decision:
    orders = (PodOrders(one.uid, tuple(_wanted(pool, one.uid))) for one in pool.pods)
    ends = [_keep_alive(pool, one) for one in pool.home.values()]
    left = [one - pool.now for one in ends if one is not None]
    return Decision(tuple(orders), leaves, (), max(min(left), 0.05) if left else None)


def _keep_alive(pool: Pool, one: Resident) -> float | None:
    return leaving.keep_alive_end(pool, one, pool.engine[one.engine])


def _wanted(pool: Pool, uid: str) -> Iterator[Wanted]:
    for one in pool.residents:
        if one.pod == uid and one.stays:
            share = rooms.share(pool, one)
            routed = one.state == "Serving"
            yield Wanted(one.engine, one.cards, share, Kept("Busy"), routed=routed)
