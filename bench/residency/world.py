"""A pool in simulated time: pods that carry orders out, gateways that hold, and requests.

A pod does as `berth_server` is to do with its orders: what is no longer ordered drains, is stopped
and gives its memory back; what is ordered waits until there is room and no other load on its cards.
Requests go to an engine that serves and may be routed to, and are held otherwise. The decider keeps
nothing between two looks, and may crash halfway through handing its orders out.
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappop, heappush
from math import inf
from typing import Literal

from berth_operator.core.residency.pool import (
    Demand,
    Engine,
    PodRoom,
    Policy,
    Pool,
    Resident,
    State,
)
from berth_operator.core.residency.verdicts import Decision, Wanted

Law = Callable[[Pool], Decision]
Phase = Literal["Ordered", "Loading", "Serving", "Draining", "Stopping"]

STATES: Mapping[Phase, State] = {
    "Ordered": "Loading",
    "Loading": "Loading",
    "Serving": "Serving",
    "Draining": "Draining",
    "Stopping": "Draining",
}
STOP_SECONDS = 2.0  # from the last answer to memory that is free again
LOAD_SPREAD = 0.2  # of the expected time, either way
RETRY_SECONDS = 15.0  # after a load that failed
CRASHED_PART = 0.5  # of the pods get no orders from a decider that crashes
RESTART_SECONDS = 1.0
MAX_EVENTS = 2_000_000


@dataclass(eq=False)
class Request:
    engine: str
    arrived: float
    serves: float  # seconds of work, once it is sent
    began: float = inf
    ended: float = inf


@dataclass(frozen=True)
class Setup:
    policy: Policy
    pods: tuple[PodRoom, ...]
    engines: tuple[Engine, ...]
    crashes: float = 0.0  # share of decisions of which only a part is carried out
    failures: float = 0.0  # share of loads
    pod_dies_every: float = inf  # seconds; another takes its place at once


@dataclass(eq=False)
class Present:
    """An engine that a pod has, or is to have."""

    engine: Engine
    cards: tuple[int, ...]
    phase: Phase
    since: float
    in_flight: set[Request] = field(default_factory=set)

    @property
    def has_memory(self) -> bool:
        return self.phase != "Ordered"


@dataclass(eq=False)
class Pod:
    room: PodRoom
    present: dict[str, Present] = field(default_factory=dict)
    routed: frozenset[str] = frozenset()

    def used(self, card: int) -> int:
        there = (one for one in self.present.values() if one.has_memory and card in one.cards)
        return sum(one.engine.card_bytes for one in there)


@dataclass
class Run:
    """What happened. Times are seconds."""

    requests: Sequence[Request]
    loads: int = 0
    swaps: int = 0  # residents that were closed for another's sake
    residencies: list[float] = field(default_factory=list)  # of those, how long each had served
    cut: int = 0  # requests in flight on a pod that died, which were sent again
    fullest: float = 0.0  # the largest part of a card that engines had at once
    decisions: int = 0


class World:
    def __init__(self, setup: Setup, law: Law, seed: int) -> None:
        self._setup, self._law = setup, law
        self._random = random.Random(seed)
        self._engines = {one.id: one for one in setup.engines}
        self._pods = {one.uid: Pod(one) for one in setup.pods}
        self._held: dict[str, deque[Request]] = defaultdict(deque)
        self._last_wanted: dict[str, float] = {}
        self._last_active: dict[str, float] = {}
        self._blocked: dict[str, float] = {}
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._look_at = inf
        self._made = len(setup.pods)

    def run(self, requests: Sequence[Request]) -> Run:
        self._run = Run(requests)
        self._open = len(requests)
        for one in requests:
            self._at(one.arrived, partial(self._arrive, one))
        if self._setup.pod_dies_every < inf:
            self._at(self._setup.pod_dies_every, self._pod_dies)
        for _ in range(MAX_EVENTS):
            if not self._open or not self._events:
                break
            self._now, _, happen = heappop(self._events)
            happen()
        return self._run

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        self._serial += 1
        heappush(self._events, (when, self._serial, happen))

    # Requests

    def _arrive(self, request: Request) -> None:
        self._last_wanted[request.engine] = self._last_active[request.engine] = self._now
        self._held[request.engine].append(request)
        self._send(request.engine)
        self._look()

    def _send(self, engine: str) -> None:
        for pod in self._pods.values():
            there = pod.present.get(engine)
            if there is None or there.phase != "Serving" or engine not in pod.routed:
                continue
            while self._held[engine]:
                self._begin(there, self._held[engine].popleft())

    def _begin(self, there: Present, request: Request) -> None:
        request.began = self._now
        there.in_flight.add(request)
        self._at(self._now + request.serves, partial(self._end, there, request, self._now))

    def _end(self, there: Present, request: Request, began: float) -> None:
        if request not in there.in_flight or request.began != began:
            return  # its pod died, and it was sent again
        there.in_flight.remove(request)
        request.ended = self._last_active[request.engine] = self._now
        self._open -= 1
        self._work()
        self._look()

    # Pods

    def _work(self) -> None:
        for pod in self._pods.values():
            for one in list(pod.present.values()):
                if one.phase == "Draining" and not one.in_flight:
                    self._stop(pod, one)
            for one in list(pod.present.values()):
                if one.phase == "Ordered" and self._may_begin(pod, one):
                    self._load(pod, one)

    def _stop(self, pod: Pod, one: Present) -> None:
        one.phase = "Stopping"
        self._at(self._now + STOP_SECONDS, partial(self._gone, pod, one))

    def _gone(self, pod: Pod, one: Present) -> None:
        if pod.present.get(one.engine.id) is one:
            del pod.present[one.engine.id]
            self._work()
            self._look()

    def _may_begin(self, pod: Pod, one: Present) -> bool:
        loading = (other for other in pod.present.values() if other.phase == "Loading")
        if any(set(other.cards) & set(one.cards) for other in loading):
            return False
        need = one.engine.card_bytes
        return all(pod.used(card) + need <= pod.room.cards[card] for card in one.cards)

    def _load(self, pod: Pod, one: Present) -> None:
        one.phase = "Loading"
        self._run.loads += 1
        spread = self._random.uniform(1 - LOAD_SPREAD, 1 + LOAD_SPREAD)
        takes = one.engine.load_seconds * spread
        fails = self._random.random() < self._setup.failures
        self._at(self._now + takes, partial(self._loaded, pod, one, fails=fails))
        used = (pod.used(card) / pod.room.cards[card] for card in one.cards)
        self._run.fullest = max(self._run.fullest, *used)

    def _loaded(self, pod: Pod, one: Present, *, fails: bool) -> None:
        if pod.present.get(one.engine.id) is not one or one.phase != "Loading":
            return
        if fails:
            self._blocked[one.engine.id] = self._now + RETRY_SECONDS
            del pod.present[one.engine.id]
        else:
            one.phase, one.since = "Serving", self._now
            self._last_active[one.engine.id] = self._now
            self._send(one.engine.id)
        self._work()
        self._look()

    def _pod_dies(self) -> None:
        uid = self._random.choice(sorted(self._pods))
        dead = self._pods.pop(uid)
        for one in dead.present.values():
            self._run.cut += len(one.in_flight)
            waiting = self._held[one.engine.id]
            waiting.extendleft(sorted(one.in_flight, key=lambda each: -each.arrived))
            one.in_flight.clear()
        self._made += 1
        new = PodRoom(f"pod-{self._made}", dead.room.cards)
        self._pods[new.uid] = Pod(new)
        self._at(self._now + self._setup.pod_dies_every, self._pod_dies)
        self._look()

    # The decider

    def _look(self) -> None:
        self._run.decisions += 1
        observed = self.observed()
        decision = self._law(observed)
        half = self._random.random() < self._setup.crashes
        for orders in decision.pods:
            pod = self._pods.get(orders.pod)
            if pod is not None and not (half and self._random.random() < CRASHED_PART):
                self._count(observed, decision, pod)
                self._order(pod, orders.engines)
        self._work()
        for engine in [name for name, waiting in self._held.items() if waiting]:
            self._send(engine)
        again = RESTART_SECONDS if half else decision.look_again_seconds
        if again is not None and not self._now < self._look_at <= self._now + again:
            self._look_at = self._now + again
            self._at(self._look_at, partial(self._look_when_due, self._look_at))

    def _look_when_due(self, due: float) -> None:
        if due == self._look_at:
            self._look_at = inf
            self._look()

    def _count(self, observed: Pool, decision: Decision, pod: Pod) -> None:
        for one in decision.leaves:
            there = pod.present.get(one.engine)
            if one.room_for is None or one.pod != pod.room.uid or there is None:
                continue
            if there.phase == "Serving":
                self._run.swaps += 1
                self._run.residencies.append(observed.now - there.since)

    def _order(self, pod: Pod, wanted: Sequence[Wanted]) -> None:
        named = {one.engine: one for one in wanted}
        pod.routed = frozenset(one.engine for one in wanted if one.routed)
        for name, one in list(pod.present.items()):
            order = named.get(name)
            if order is None:
                self._close(pod, one)
            elif one.phase == "Draining":
                one.phase = "Serving"
        for name, order in named.items():
            if name not in pod.present:
                new = Present(self._engines[name], order.cards, "Ordered", self._now)
                pod.present[name] = new

    def _close(self, pod: Pod, one: Present) -> None:
        if one.phase == "Ordered":
            del pod.present[one.engine.id]
        elif one.phase == "Loading":
            self._stop(pod, one)
        elif one.phase == "Serving":
            one.phase = "Draining"

    def observed(self) -> Pool:
        pods = tuple(one.room for one in self._pods.values())
        residents = tuple(
            Resident(
                name,
                pod.room.uid,
                one.cards,
                STATES[one.phase],
                one.since,
                one.engine.card_bytes if one.has_memory else 0,
            )
            for pod in self._pods.values()
            for name, one in pod.present.items()
        )
        engines = tuple(self._as_tried(one) for one in self._setup.engines)
        demand = {one.id: self._demand(one.id) for one in engines}
        return Pool(self._now, self._setup.policy, pods, engines, residents, demand)

    def _as_tried(self, engine: Engine) -> Engine:
        until = self._blocked.get(engine.id)
        return engine if until is None else replace(engine, blocked_until=until)

    def _demand(self, engine: str) -> Demand:
        waiting = self._held[engine]
        in_flight = sum(
            len(pod.present[engine].in_flight)
            for pod in self._pods.values()
            if engine in pod.present
        )
        active = self._last_active.get(engine)
        return Demand(
            held=len(waiting),
            oldest_held_seconds=self._now - waiting[0].arrived if waiting else 0.0,
            in_flight=in_flight,
            idle_seconds=None if active is None else self._now - active,
            last_wanted=self._last_wanted.get(engine),
        )
