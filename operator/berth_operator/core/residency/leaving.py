"""Who goes although nobody wants its room: the table of reasons, the first that holds.

None of them cuts a request. A resident that goes is closed, finishes what it has, and then goes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Final

from berth_operator.core.residency import rooms
from berth_operator.core.residency.pool import Engine, Pool, Resident
from berth_operator.core.residency.verdicts import LeaveReason, Leaves
from berth_operator.core.residency.wishes import predecessors, unloaded


def left(pool: Pool) -> tuple[Pool, tuple[Leaves, ...]]:
    """The pool without those that go by themselves, and why they do."""
    present, lost = _present(pool)
    why = {one: _reason(present, one) for one in present.residents}
    goes = {one: reason for one, reason in why.items() if reason is not None}
    stays = [one for one in present.residents if one not in goes]
    goes |= dict.fromkeys(_oversized(present, stays), "Oversized")
    leaves = tuple(Leaves(one.engine, one.pod, reason) for one, reason in goes.items())
    return told_to_go(present, goes), (*lost, *leaves)


def told_to_go(pool: Pool, goes: Collection[Resident]) -> Pool:
    after = (_closed(one) if one in goes else one for one in pool.residents)
    return replace(pool, residents=tuple(one for one in after if one is not None))


def _closed(resident: Resident) -> Resident | None:
    """What is left of it once it is told to go. A load that has not begun is gone at once."""
    if resident.state == "Failed":
        return resident if resident.withheld else None
    return replace(resident, state="Draining") if resident.begun else None


def _present(pool: Pool) -> tuple[Pool, tuple[Leaves, ...]]:
    """Residents of pods that go count for nothing. Of equals the order is always the same."""
    stays = {one.uid for one in pool.pods if not one.terminating}
    there = {one for one in pool.residents if one.pod in stays}
    present = sorted(there, key=lambda one: _standing(pool, one))
    lost = (one for one in pool.residents if one.pod not in stays)
    rest = replace(pool, residents=tuple(present))
    return rest, tuple(Leaves(one.engine, one.pod, "PodGone") for one in lost)


def _standing(pool: Pool, one: Resident) -> tuple[object, ...]:
    """The first of them is the engine's home, and the last to lose its room."""
    away = not pool.pod[one.pod].takes_orders or not _has_cards(pool, one)
    return (away, one.state != "Serving", one.since, one.engine, one.pod, one.cards, one.state)


def _has_cards(pool: Pool, one: Resident) -> bool:
    """Whether its pod, if it were empty, could hold it where it is."""
    return rooms.empty(pool, pool.pod[one.pod]).takes(one.cards, rooms.share(pool, one))


def _reason(pool: Pool, resident: Resident) -> LeaveReason | None:
    if not pool.pod[resident.pod].takes_orders:
        return None
    if resident.state == "Draining":
        return "Draining"
    if resident.state == "Failed":
        return "Failed"
    engine = pool.engine.get(resident.engine)
    if engine is None:
        return "Unknown"
    rules = _OF_PAUSED if engine.paused else _RULES
    return next((why for why, rule in rules if rule(pool, resident, engine)), None)


def _duplicate(pool: Pool, resident: Resident, _: Engine) -> bool:
    """More replicas of an engine would be told apart here, and by `Pool.home`."""
    return pool.home[resident.engine] != resident


def _superseded(pool: Pool, _: Resident, engine: Engine) -> bool:
    return not engine.models and any(_serves(pool, one) for one in _successors(pool, engine))


def _unused(pool: Pool, resident: Resident, engine: Engine) -> bool:
    """One that serves goes on for its models until their new engine does."""
    if engine.models or pool.asked(engine.id).in_flight:
        return False
    return resident.state == "Loading" or not any(_successors(pool, engine))


def _unloaded(pool: Pool, _: Resident, engine: Engine) -> bool:
    """Of a model that is rolled out: the old engine, and the new one is not loaded instead."""
    if unloaded(pool, engine):
        return True
    asking = [one for one in _successors(pool, engine) if one.models]
    if engine.models or not asking or pool.asked(engine.id).busy:
        return False
    return all(unloaded(pool, one) for one in asking)


def _keep_alive_over(pool: Pool, resident: Resident, engine: Engine) -> bool:
    until = keep_alive_end(pool, resident, engine)
    return until is not None and until <= pool.now


def keep_alive_end(pool: Pool, resident: Resident, engine: Engine) -> float | None:
    """When it goes if nobody asks; None while somebody does, or it is to stay."""
    if resident.state != "Serving" or engine.pinned or engine.keep_alive_seconds is None:
        return None
    if engine.paused or pool.asked(engine.id).busy:
        return None
    return pool.now + max(0.0, engine.keep_alive_seconds - pool.idle_for(resident))


def _oversized(pool: Pool, stays: Iterable[Resident]) -> Iterator[Resident]:
    """Those whose cards are gone, or too small beside those before them: the paused come first."""
    left = rooms.rooms(replace(pool, residents=()))
    for one in sorted(stays, key=lambda one: not _is_paused(pool, one)):
        room, share = left.get(one.pod), rooms.share(pool, one)
        if room is None:
            continue
        if room.takes(one.cards, share):
            left = {**left, one.pod: room.less(one, share)}
        else:
            yield one


def _is_paused(pool: Pool, resident: Resident) -> bool:
    engine = pool.engine.get(resident.engine)
    return engine is not None and engine.paused


def _successors(pool: Pool, engine: Engine) -> Iterator[Engine]:
    return (one for one in pool.engines if engine.id in predecessors(pool, one))


def _serves(pool: Pool, engine: Engine) -> bool:
    home = pool.home.get(engine.id)
    return home is not None and home.state == "Serving"


_Rules = tuple[tuple[LeaveReason, Callable[[Pool, Resident, Engine], bool]], ...]
# Of an engine that is in two pods one is a mistake, whoever left it so.
_OF_PAUSED: Final[_Rules] = (("Duplicate", _duplicate),)
_RULES: Final[_Rules] = (
    *_OF_PAUSED,
    ("Superseded", _superseded),
    ("Unused", _unused),
    ("Unloaded", _unloaded),
    ("KeepAliveOver", _keep_alive_over),
)
