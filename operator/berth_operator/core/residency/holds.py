"""What keeps a resident from one that wants its room, and until when: the table of rules.

That a resident serves requests is a reason only up to the fair turn of the one that waits. Then it
is closed, and what it has in flight is finished all the same.
"""

from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from berth_operator.core.residency.pool import Pool, Resident
from berth_operator.core.residency.verdicts import WaitReason
from berth_operator.core.residency.wishes import Wish, predecessors, wish


class Hold(NamedTuple):
    because: WaitReason
    until: float  # inf: no time ends it
    certain: bool = True  # else something has to happen first, and this is when it may have


def hold(pool: Pool, wanting: Wish, resident: Resident) -> Hold | None:
    """The one that lasts longest; None: it may be evicted now."""
    if gives_way(pool, wanting, resident):
        return None
    found = (rule(pool, wanting, resident) for rule in _RULES)
    return max((one for one in found if one is not None), key=_lasts, default=None)


def gives_way(pool: Pool, wanting: Wish, resident: Resident) -> bool:
    """To its own successor at any time; a load that has not begun, where nobody wants it."""
    engine = pool.engine[resident.engine]
    if engine.paused:
        return False
    if not engine.models and resident.engine in predecessors(pool, wanting.engine):
        return True
    return not resident.begun and wish(pool, engine) is None


def _lasts(one: Hold) -> float:
    return one.until


def _paused(pool: Pool, _: Wish, resident: Resident) -> Hold | None:
    return Hold("Paused", inf) if pool.engine[resident.engine].paused else None


def _pinned(pool: Pool, _: Wish, resident: Resident) -> Hold | None:
    return Hold("Pinned", inf) if pool.engine[resident.engine].pinned else None


def _not_evictable(pool: Pool, _: Wish, resident: Resident) -> Hold | None:
    return None if pool.engine[resident.engine].evictable else Hold("NotEvictable", inf)


def _priority(pool: Pool, wanting: Wish, resident: Resident) -> Hold | None:
    higher = pool.engine[resident.engine].priority > wanting.engine.priority
    return Hold("Priority", inf) if higher else None


def _loading(pool: Pool, _: Wish, resident: Resident) -> Hold | None:
    """A neighbour that stops in the middle of a load disturbs what the others measure."""
    if resident.state != "Loading":
        return None
    loads = pool.engine[resident.engine].load_seconds - max(0.0, pool.now - resident.since)
    until = pool.now + max(0.0, loads) + pool.policy.min_residency_seconds
    return Hold("Loading", until, certain=False)


def _minimum_residency(pool: Pool, _: Wish, resident: Resident) -> Hold | None:
    """A clock that was put back makes it no longer than the minimum."""
    served = max(0.0, pool.now - resident.since)
    missing = pool.policy.min_residency_seconds - served
    if resident.state != "Serving" or missing <= 0:
        return None
    return Hold("MinimumResidency", pool.now + missing)


def _turn(pool: Pool, wanting: Wish, resident: Resident) -> Hold | None:
    """Those that wait for the resident itself, and are about to be served, may have come first."""
    asked = pool.asked(resident.engine)
    if not wanting.starved or not asked.held or asked.oldest_held_seconds < wanting.waited:
        return None
    return Hold("NotItsTurn", pool.now, certain=False)


def _busy(pool: Pool, wanting: Wish, resident: Resident) -> Hold | None:
    if wanting.starved or not pool.asked(resident.engine).busy:
        return None
    if wanting.why == "RollOut":
        return Hold("Busy", inf)
    return Hold("Busy", pool.now + pool.policy.starvation_seconds - wanting.waited)


_RULES: Final[tuple[Callable[[Pool, Wish, Resident], Hold | None], ...]] = (
    _paused,
    _pinned,
    _not_evictable,
    _priority,
    _loading,
    _minimum_residency,
    _turn,
    _busy,
)
