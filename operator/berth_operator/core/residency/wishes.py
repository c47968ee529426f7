"""Which engines are wanted and are in no pod, and in which order they are served.

Those that have waited beyond the bound come first, the longest wait before all, whatever their
priority: so there is a number of those before one, and it only falls. Then priority, then age.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from berth_operator.core.residency.pool import Engine, Pool
from berth_operator.core.residency.rooms import refused
from berth_operator.core.residency.verdicts import WishReason


@dataclass(frozen=True)
class Wish:
    engine: Engine
    why: WishReason
    waited: float  # seconds
    starved: bool  # beyond the bound

    @property
    def order(self) -> tuple[bool, float, float, float, str]:
        urgent = (-self.waited, 0.0) if self.starved else (-self.engine.priority, -self.waited)
        return (not self.starved, *urgent, _by_why(self), self.engine.id)


def wish(pool: Pool, engine: Engine) -> Wish | None:
    """Whether it is wanted, wherever it is."""
    why = _why(pool, engine)
    if why is None:
        return None
    waited = _waited(pool, engine)
    starved = why != "RollOut" and waited >= pool.policy.starvation_seconds
    return Wish(engine, why, waited, starved)


def wanting(pool: Pool) -> list[Wish]:
    """In the order of their turns. Who is blocked, or can never fit, takes no turn."""
    away = (one for one in pool.engines if one.id not in pool.home)
    ready = (one for one in away if not blocked(pool, one) and refused(pool, one) is None)
    found = (wish(pool, one) for one in ready)
    return sorted((one for one in found if one is not None), key=lambda one: one.order)


def blocked(pool: Pool, engine: Engine) -> bool:
    return engine.blocked_until is not None and pool.now < engine.blocked_until


def unloaded(pool: Pool, engine: Engine) -> bool:
    """By name, and nobody has asked for it since."""
    asked = pool.asked(engine.id)
    if engine.unload_asked is None or engine.pinned or asked.busy:
        return False
    return asked.last_wanted is None or asked.last_wanted <= engine.unload_asked


def predecessors(pool: Pool, engine: Engine) -> Iterator[str]:
    """Nearest first; a ring of them ends."""
    seen = {engine.id}
    before = engine.supersedes
    while before is not None and before not in seen:
        yield before
        seen.add(before)
        found = pool.engine.get(before)
        before = None if found is None else found.supersedes


def _why(pool: Pool, engine: Engine) -> WishReason | None:
    """Requests wait for what their model's spec asks for now, so for one without models none do."""
    if not engine.models:
        return None
    if pool.asked(engine.id).held:
        return "Held"
    if engine.pinned:
        return "Pinned"
    if unloaded(pool, engine):
        return None
    return "RollOut" if any(_serves(pool, one) for one in predecessors(pool, engine)) else None


def _serves(pool: Pool, engine: str) -> bool:
    """A load that was superseded is given up; whoever asks then has the new one loaded."""
    home = pool.home.get(engine)
    return home is not None and home.state == "Serving"


def _waited(pool: Pool, engine: Engine) -> float:
    """A failure begins the wait anew, or one that always fails would close busy ones each time."""
    asked = pool.asked(engine.id)
    held = asked.oldest_held_seconds if asked.held else 0.0
    pinned = 0.0 if engine.pinned_since is None else pool.now - engine.pinned_since
    longest = max(held, pinned if engine.pinned else 0.0)
    if engine.blocked_until is not None:
        longest = min(longest, pool.now - engine.blocked_until)
    return max(0.0, longest)


def _by_why(one: Wish) -> float:
    """Of equals, requests before a roll-out, whose model is served meanwhile."""
    return float(one.why == "RollOut")
