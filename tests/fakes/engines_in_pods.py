"""A pool in few words, and what becomes of it when a decision is carried out."""

from dataclasses import replace
from typing import Any

from berth_operator.core.residency.law import decide
from berth_operator.core.residency.pool import Demand, Engine, PodRoom, Policy, Pool, Resident
from berth_operator.core.residency.verdicts import Decision, Leaves, Loads, Waits, Wanted

NOW = 10_000.0
GIB = 2**30
POLICY = Policy(min_residency_seconds=30.0, starvation_seconds=60.0)


def engine(name: str, gib: float = 8, **changes: Any) -> Engine:
    """Eight GiB of one card, which a card of ten holds once."""
    plain = {"load_seconds": 20.0, "keep_alive_seconds": 300.0, "models": (name,)}
    return Engine(name, card_bytes=int(gib * GIB), **{**plain, **changes})


def pod(name: str = "pod", *cards: float, **changes: Any) -> PodRoom:
    sizes = tuple(int(one * GIB) for one in cards or (10,))
    return PodRoom(name, sizes, **changes)


def at(
    name: str, *, on: str = "pod", cards: tuple[int, ...] = (0,), ago: float = 100.0, **changes: Any
) -> Resident:
    """One that has served for longer than the minimum residency."""
    state = changes.pop("state", "Serving")
    has = {"Serving": GIB, "Loading": GIB, "Draining": 8 * GIB, "Failed": 0}[state]
    withheld = changes.pop("withheld", has)
    return Resident(name, on, cards, state, NOW - ago, withheld, **changes)


def held(seconds: float = 1.0, count: int = 1) -> Demand:
    return Demand(held=count, oldest_held_seconds=seconds, idle_seconds=0.0, last_wanted=NOW)


def busy() -> Demand:
    return Demand(in_flight=1, idle_seconds=0.0, last_wanted=NOW - 1)


def idle(seconds: float = 50.0) -> Demand:
    return Demand(idle_seconds=seconds, last_wanted=NOW - seconds)


def pool(*things: PodRoom | Engine | Resident, policy: Policy = POLICY, **demand: Demand) -> Pool:
    """Of one pod with one card of ten GiB, where none is named."""
    pods = tuple(one for one in things if isinstance(one, PodRoom))
    return Pool(
        NOW,
        policy,
        pods or (pod(),),
        tuple(one for one in things if isinstance(one, Engine)),
        tuple(one for one in things if isinstance(one, Resident)),
        demand,
    )


class Told:
    """A decision by the names of engines."""

    def __init__(self, observed: Pool) -> None:
        self.decision = decide(observed)
        self.again = self.decision.look_again_seconds

    def orders(self, name: str = "pod") -> set[str]:
        return {one.engine for one in self._pod(name)}

    def ordered(self, engine: str) -> tuple[str, tuple[int, ...]]:
        where = [
            (pod.pod, one.cards)
            for pod in self.decision.pods
            for one in pod.engines
            if one.engine == engine
        ]
        (only,) = where
        return only

    def routed(self) -> set[str]:
        return {one.engine for pod in self.decision.pods for one in pod.engines if one.routed}

    def why(self, engine: str) -> Any:
        """Kept or Loads."""
        found = [
            one.why for pod in self.decision.pods for one in pod.engines if one.engine == engine
        ]
        (only,) = found
        return only

    def leaves(self) -> dict[str, tuple[str, str | None]]:
        return {one.engine: (one.because, one.room_for) for one in self.decision.leaves}

    def waits(self, engine: str) -> Any:
        (only,) = (one for one in self.decision.waits if one.engine == engine)
        return only

    def _pod(self, name: str) -> tuple[Wanted, ...]:
        (only,) = (one.engines for one in self.decision.pods if one.pod == name)
        return only


def carried_out(observed: Pool, decision: Decision) -> Pool:
    """At the same moment: told to load and not begun, told to go and not gone."""
    wanted = {(one.engine, orders.pod): one for orders in decision.pods for one in orders.engines}
    ready = {one.uid for one in observed.pods if one.takes_orders}
    after = [_told(one, wanted, ready) for one in observed.residents]
    there = {(one.engine, one.pod) for one in after if one is not None and one.state != "Failed"}
    new = [
        Resident(name, pod, one.cards, "Loading", observed.now)
        for (name, pod), one in wanted.items()
        if (name, pod) not in there and pod in ready
    ]
    residents = (*(one for one in after if one is not None), *new)
    return replace(observed, residents=residents)


def _told(one: Resident, wanted: dict[tuple[str, str], Wanted], ready: set[str]) -> Resident | None:
    order = wanted.get((one.engine, one.pod))
    if one.pod not in ready:
        return one
    if one.state == "Failed":
        return one if one.withheld else None
    if order is not None and order.cards == one.cards:
        return replace(one, state="Loading") if one.state == "Draining" else one
    return replace(one, state="Draining") if one.withheld or one.state != "Loading" else None


__all__ = [
    "GIB",
    "NOW",
    "POLICY",
    "Leaves",
    "Loads",
    "Told",
    "Waits",
    "at",
    "busy",
    "carried_out",
    "engine",
    "held",
    "idle",
    "pod",
    "pool",
]
