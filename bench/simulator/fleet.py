"""The replicas of one model, the gateway before them and the law that sizes them, simulated.

A request goes to the replica with the fewest in flight (as `berth_gateway.routing.pick`), and waits
in the gateway while there is none that takes it. A replica that is taken away serves what it has.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from math import inf
from typing import Protocol

from berth_api.demand import COALESCE_SECONDS
from berth_api.server import queue_limit

from .engine import Engine, Replica, Request

START_SPREAD = 0.1  # of the cold start, either way
GRACE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Gauge:
    """One serving replica, as its own metrics show it."""

    running: int
    waiting: int
    kv_use: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class View:
    """What can be known at one moment."""

    now: float
    held: int
    in_flight: int  # at replicas, draining ones too
    arrivals: int
    answered: int
    ready: int
    starting: int
    replicas: Sequence[Replica]  # that serve

    def gauges(self, engine: Engine) -> list[Gauge]:
        return [
            Gauge(len(r.running), len(r.queue) + (r.prompt is not None), r.kv / engine.kv_tokens)
            for r in self.replicas
        ]


class Scaler(Protocol):
    """A law, with the rhythm at which its system runs it."""

    tick_seconds: float
    delay_seconds: float  # from a look to the replica count being set
    event_driven: bool  # also looks after an arrival, at most every COALESCE_SECONDS

    def look(self, view: View, current: int) -> int: ...


@dataclass(frozen=True)
class Setup:
    engine: Engine
    cold_start_seconds: float = 60.0
    min_replicas: int = 1
    max_replicas: int = 16
    initial_replicas: int = 2


@dataclass
class Run:
    """What happened."""

    requests: list[Request]
    replica_seconds: float  # starting and draining ones too
    changes: list[tuple[float, int]]  # of the wanted number; the first is where it began
    waits: list[float]  # of each raise: from the first arrival that it could go by


class Fleet:
    def __init__(self, setup: Setup, scaler: Scaler, seed: int, measured_from: float = 0.0) -> None:
        self._setup = setup
        self._scaler = scaler
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._serial = 0
        self._held: deque[Request] = deque()
        self._serving: list[Replica] = []
        self._starting: list[Replica] = []
        self._draining = 0
        self._from = measured_from
        self._paid = measured_from
        self._at_replicas = 0
        self._answered = 0
        self._arrivals = 0
        self._wanted = 0
        self._spent = 0.0
        self._limit = queue_limit(setup.engine.max_num_seqs)
        self._looked = -inf
        self._unseen: float | None = None  # the first arrival since the last look
        self._waits: list[float] = []
        self._until = inf
        self._look_due = inf
        self._changes: list[tuple[float, int]] = []

    def run(self, requests: list[Request], until: float) -> Run:
        """To the end and a little further, so that who came last is answered too."""
        self._until = until
        self._set(self._setup.initial_replicas, 0.0, warm=True)
        self._at(self._scaler.tick_seconds, self._tick)
        events = self._events
        incoming = iter(requests)
        upcoming = next(incoming, None)
        while True:
            if upcoming is not None and (not events or upcoming.arrived <= events[0][0]):
                self._arrive(upcoming)
                upcoming = next(incoming, None)
                continue
            if not events:
                break
            now, _, action = heappop(events)
            if now > until + GRACE_SECONDS:
                break
            action(now)
        self._pay(until)
        return Run(
            [r for r in requests if self._from <= r.arrived],
            self._spent,
            self._sizes(),
            self._waits,
        )

    def _sizes(self) -> list[tuple[float, int]]:
        """The wanted number where the measurement begins, and each change of it after."""
        before = [change for change in self._changes if change[0] < self._from]
        size = before[-1][1] if before else self._setup.initial_replicas
        return [(self._from, size)] + [c for c in self._changes if c[0] >= self._from]

    def _at(self, when: float, action: Callable[[float], None]) -> None:
        self._serial += 1
        heappush(self._events, (when, self._serial, action))

    def _tick(self, now: float) -> None:
        self._look(now)
        if now < self._until:
            self._at(now + self._scaler.tick_seconds, self._tick)

    def _look_after_arrival(self, now: float) -> None:
        self._look_due = inf
        self._look(now)

    def _arrive(self, request: Request) -> None:
        now = request.arrived
        self._arrivals += 1
        self._held.append(request)
        self._dispatch(now)
        if self._unseen is None:
            self._unseen = now
        if self._scaler.event_driven and self._look_due == inf:
            self._look_due = max(now, self._looked + COALESCE_SECONDS)
            self._at(self._look_due, self._look_after_arrival)

    def _dispatch(self, now: float) -> None:
        held = self._held
        while held and self._serving:
            replica = least_in_flight(self._serving)
            if replica.load >= self._limit:
                return
            replica.take(now, held.popleft())
            self._at_replicas += 1
            self._schedule(replica)

    def _schedule(self, replica: Replica) -> None:
        if replica.due < inf:
            self._at(replica.due, partial(self._work, replica, replica.version))

    def _work(self, replica: Replica, version: int, now: float) -> None:
        if replica.version != version:
            return  # something came in between, and with it a later event
        ended = len(replica.work(now))
        self._schedule(replica)
        if ended:
            self._answered += ended
            self._at_replicas -= ended
            if replica.draining and not replica.load:
                self._pay(now)
                self._draining -= 1
            elif self._held:
                self._dispatch(now)

    def _serve(self, replica: Replica, now: float) -> None:
        if replica in self._starting:
            self._starting.remove(replica)
            self._serving.append(replica)
            self._dispatch(now)

    def _look(self, now: float) -> None:
        self._looked = now
        view = View(
            now,
            len(self._held),
            self._at_replicas,
            self._arrivals,
            self._answered,
            len(self._serving),
            len(self._starting),
            self._serving,
        )
        wanted = self._scaler.look(view, self._wanted)
        wanted = min(max(wanted, self._setup.min_replicas), self._setup.max_replicas)
        if wanted > self._wanted and self._unseen is not None:
            self._waits.append(now - self._unseen + self._scaler.delay_seconds)
        self._unseen = None
        if wanted != self._wanted:
            self._wanted = wanted
            self._changes.append((now, wanted))
            self._at(now + self._scaler.delay_seconds, partial(self._set, wanted))

    def _pay(self, now: float) -> None:
        """For all replicas since it was last called."""
        now = min(now, self._until)
        if now > self._paid:
            count = len(self._serving) + len(self._starting) + self._draining
            self._spent += count * (now - self._paid)
            self._paid = now

    def _set(self, wanted: int, now: float, *, warm: bool = False) -> None:
        self._pay(now)
        self._wanted = wanted if warm else self._wanted
        while len(self._serving) + len(self._starting) < wanted:
            replica = Replica(self._setup.engine, now)
            self._starting.append(replica)
            spread = self._random.uniform(1 - START_SPREAD, 1 + START_SPREAD)
            takes = 0.0 if warm else self._setup.cold_start_seconds * spread
            self._at(now + takes, partial(self._serve, replica))
        while len(self._serving) + len(self._starting) > wanted:
            self._remove()

    def _remove(self) -> None:
        """The youngest that does not serve yet, or else the one with the least to finish."""
        if self._starting:
            self._starting.pop()
            return
        replica = least_in_flight(self._serving)
        self._serving.remove(replica)
        replica.draining = True
        self._draining += bool(replica.load)


def least_in_flight(replicas: Sequence[Replica]) -> Replica:
    """The gateway's rule; equals are told apart by their order, where the gateway takes turns."""
    return min(replicas, key=_load)


def _load(replica: Replica) -> int:
    """`replica.load`, which is asked for too often to be looked up."""
    return len(replica.queue) + len(replica.running) + (replica.prompt is not None)
