"""Requests that wait in the gateway for an endpoint, one queue per model, first come first served.

`take` is what nearly every request meets: it picks an endpoint and counts the request there, or
says why not. Only then is a request held, and only a held request costs more than numbers. Whatever
may make room wakes the queue of that model: a request that ends, a new snapshot, the end of an
ejection or of a pause. So no request stays held while an endpoint of its model has room for it.

Everything here runs in the data path's loop. Other threads read: single numbers, and copies.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Final

from berth_api.spec import RoutingPolicy
from berth_gateway.errors import Failure
from berth_gateway.histogram import Histogram
from berth_gateway.routing import admission
from berth_gateway.routing.admission import Backlog, Reason, Refused, Starts
from berth_gateway.routing.pick import NO_ENDPOINT, NoneLeft, NoRoom, Picked, pick
from berth_gateway.routing.prefix import Affinity, Memory, pick_by_prefix
from berth_gateway.routing.snapshot import Endpoint, Model, Snapshot
from berth_gateway.state.load import Load
from berth_gateway.state.residency import Residency

_NOBODY: Final = frozenset[str]()
_PREFIX_AWARE: Final = RoutingPolicy.PREFIX_AWARE  # a look-up at an Enum is slow in Python 3.11
_WAIT: Final = NoRoom("others wait already")
_VANISHED: Final = Refused(Reason.VANISHED, "the model has been deleted")
_LEAVING: Final = Refused(Reason.LEAVING, "this gateway is leaving; try again")
# A timer that fires a moment early would find the endpoint still closed.
_TIMER_SLACK_SECONDS: Final = 0.001


class Place:
    """A request's place at an endpoint, counted until it is left. A context."""

    __slots__ = ("_line", "_queues", "_unseen", "endpoint", "picked")

    def __init__(self, queues: "Queues", line: "Line", picked: Picked) -> None:
        self._queues = queues
        self._line = line
        self.picked = picked
        self.endpoint = picked.endpoint
        self._unseen = picked.unseen

    def begin(self) -> None:
        """The answer's first byte is here: the prompt has been computed."""
        if self._unseen:
            self._queues.load.computed(self.endpoint.key, self._unseen)
            self._unseen = 0

    def leave(self) -> None:
        """Once. The place goes to the first held request, if there is one."""
        queues = self._queues
        self.begin()  # what it waited for is nobody's work any more
        queues.load.leave(self.endpoint.key)
        # By its key: the model may have vanished and returned, with a line of its own.
        line = queues.lines.get(self._line.model.key)
        if line is not None:
            queues.touch(line)
            if line.held:
                queues.wake(line)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


@dataclass(slots=True, eq=False)
class Held:
    """One request that waits. `outcome` becomes its place, or why it gets none."""

    model: Model  # as the request found it
    outcome: "asyncio.Future[Place | Refused]"
    since: float
    until: float  # it is refused then
    size: int  # bytes of its body
    asked: Affinity | None
    excluded: AbstractSet[str] = _NOBODY  # endpoint keys that it has tried in vain


@dataclass(slots=True, eq=False)
class Line:
    """One model: who waits for it, and what is counted of it."""

    model: Model
    held: "OrderedDict[Held, None]" = field(default_factory=OrderedDict)
    size: int = 0  # bytes of the held bodies
    arrivals: int = 0
    answered: int = 0
    since: float | None = None  # when the first held request came
    waking_since: float | None = None  # as that, while there is no endpoint
    start_seconds: float | None = None  # from then to the first endpoint, the last time
    hold_seconds: float | None = None  # how long the request waited that was woken last
    waits: Histogram = field(default_factory=Histogram)  # seconds held, whatever came of it
    refused: "Counter[Reason]" = field(default_factory=Counter)
    memory: Memory = field(default_factory=Memory)
    residency: Residency = field(default_factory=Residency)
    timer: asyncio.TimerHandle | None = None


class Queues:
    def __init__(
        self,
        load: Load,
        bound: Backlog,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`bound` is of the whole gateway."""
        self.load = load
        self.lines: dict[str, Line] = {}  # by model key, of the snapshot's models
        self.owners: dict[str, Line] = {}  # by endpoint key; replaced as a whole
        self.whole = Backlog()
        self.closed = False
        self._bound = bound
        self._clock = clock

    # The fast path

    def take(
        self, model: Model, asked: Affinity | None = None, excluded: AbstractSet[str] = _NOBODY
    ) -> Place | NoRoom | NoneLeft:
        """A place, counted; or nothing, and nothing has happened.

        `excluded` are the endpoint keys that this request will not try again.
        """
        line = self.lines.get(model.key)
        if line is None:
            return NO_ENDPOINT
        if line.held:
            return _WAIT
        picked = self._pick(line, asked, excluded)
        return self._seat(line, picked, asked) if isinstance(picked, Picked) else picked

    def arrived(self, model: Model) -> None:
        """A request has been let in at the door; counted once, whatever becomes of it."""
        line = self.lines.get(model.key)
        if line is not None:
            line.arrivals += 1
            self.touch(line)
            line.residency.arrived = line.residency.touched

    def touch(self, line: Line) -> None:
        """A request of this model has arrived or ended."""
        line.residency.touched = self._clock()

    def keep(self, model: Model, seconds: float | None) -> None:
        """How long it is to stay loaded, as an Ollama request says; None: its own keepAlive."""
        line = self.lines.get(model.key)
        if line is not None:
            line.residency.asked = seconds

    def lengthen(self, model: Model, seconds: float) -> None:
        """At least so long, as an OpenAI request says."""
        line = self.lines.get(model.key)
        if line is not None:
            line.residency.lengthen(seconds, line.model.keep_alive_seconds)

    def _pick(
        self, line: Line, asked: Affinity | None, excluded: AbstractSet[str]
    ) -> Picked | NoRoom | NoneLeft:
        model = line.model
        view = self.load.view(excluded, model.room)
        if asked is None or model.policy is not _PREFIX_AWARE:
            return pick(model.endpoints, view)
        return pick_by_prefix(model.endpoints, view, asked, line.memory)

    def _seat(self, line: Line, picked: Picked, asked: Affinity | None) -> Place:
        self.load.enter(picked.endpoint.key)
        if picked.unseen:
            self.load.compute(picked.endpoint.key, picked.unseen)
        if asked is not None:
            line.memory.learn(asked, picked.endpoint.key)
        return Place(self, line, picked)

    # What requests met

    def sound(self, model: Model, endpoint: Endpoint) -> None:
        """An answer has begun, so the endpoint is well and has room."""
        line = self.lines.get(model.key)
        if self.load.answered(endpoint) and line is not None:
            self.wake(line)

    def answered(self, model: Model) -> None:
        """An answer has come to its end."""
        line = self.lines.get(model.key)
        if line is not None:
            line.answered += 1

    def failed(self, model: Model, endpoint: Endpoint, failure: Failure) -> None:
        line = self.lines.get(model.key)
        if line is not None:
            self.load.failed(endpoint, failure, line.model.endpoints)
            self._set_timer(line)

    # Holding

    def hold(
        self,
        model: Model,
        size: int,
        asked: Affinity | None = None,
        since: float | None = None,
        excluded: AbstractSet[str] = _NOBODY,
    ) -> Held | Refused:
        """Wait behind the others; a request that has waited `since` then goes before them again.

        It was let in once, so no bound stands against it. An endpoint of `excluded` is waited past
        as long as the model has another.
        """
        line = self.lines.get(model.key)
        if line is None:
            return _VANISHED
        decision = self._admit(line, size, waited=since is not None)
        if isinstance(decision, Refused):
            line.refused[decision.reason] += 1
            return decision
        now = self._clock()
        began = now if since is None else since
        outcome = asyncio.get_running_loop().create_future()
        until = began + decision.seconds
        held = Held(line.model, outcome, began, until, size, asked, excluded)
        line.held[held] = None
        if since is not None:
            line.held.move_to_end(held, last=False)
        self._weigh(line, 1, size)
        if line.waking_since is None and not line.model.endpoints:
            line.waking_since = now
        self.wake(line)
        return held

    def _admit(self, line: Line, size: int, *, waited: bool) -> admission.Hold | Refused:
        if self.closed:
            return _LEAVING
        if waited:
            return admission.readmit(line.model)
        mine = Backlog(len(line.held), line.size)
        return admission.admit(line.model, size, mine, self.whole, self._bound)

    def _weigh(self, line: Line, requests: int, size: int) -> None:
        line.size += size
        line.since = next(iter(line.held)).since if line.held else None
        if not line.held:
            line.waking_since = None
        self.whole = Backlog(self.whole.requests + requests, self.whole.size + size)

    async def wait(self, held: Held, seconds: float) -> Place | Refused | None:
        """Its outcome; None if there is none after `seconds`.

        Cancelled, as when the client leaves, it is forgotten at once, and a place that was given
        to it in the same moment goes on to the next.
        """
        left = min(seconds, held.until - self._clock())
        try:
            await asyncio.wait((held.outcome,), timeout=max(left, 0.0))
        except asyncio.CancelledError:
            self.forget(held)
            raise
        line = self.lines.get(held.model.key)
        if line is not None and not held.outcome.done() and self._clock() >= held.until:
            self._refuse(line, held, Refused(Reason.WAITED, _waited(held)))
        return held.outcome.result() if held.outcome.done() else None

    def forget(self, held: Held) -> None:
        """Its client has left; whatever it was given goes on to the next."""
        if not held.outcome.done():
            held.outcome.cancel()
            self._drop(held)
        elif isinstance(place := held.outcome.result(), Place):
            place.leave()

    def _drop(self, held: Held) -> None:
        line = self.lines.get(held.model.key)
        if line is not None and line.held.pop(held, held) is None:
            self._weigh(line, -1, -held.size)
            self.touch(line)

    def _refuse(self, line: Line, held: Held, refused: Refused) -> None:
        held.outcome.set_result(refused)
        self._drop(held)
        line.refused[refused.reason] += 1
        line.waits.observe(self._clock() - held.since)

    # Waking

    def wake(self, line: Line) -> None:
        """Give what room there is to those who wait, the first first.

        One that waits past an endpoint keeps nobody behind it from that one.
        """
        passed = 0
        while len(line.held) > passed:
            held = next(islice(line.held, passed, None))
            picked = self._pick_held(line, held)
            if isinstance(picked, Picked):
                self._admit_held(line, held, picked)
            elif held.excluded:
                passed += 1
            else:
                break  # there is room for nobody
        self._set_timer(line)

    def _pick_held(self, line: Line, held: Held) -> Picked | NoRoom | NoneLeft:
        picked = self._pick(line, held.asked, held.excluded)
        if isinstance(picked, NoneLeft):  # one that it has tried may be well again
            picked = self._pick(line, held.asked, _NOBODY)
        return picked

    def _admit_held(self, line: Line, held: Held, picked: Picked) -> None:
        self._drop(held)
        line.hold_seconds = self._clock() - held.since
        line.waits.observe(line.hold_seconds)
        held.outcome.set_result(self._seat(line, picked, held.asked))

    def _set_timer(self, line: Line) -> None:
        """While somebody waits: look again when a closed endpoint opens."""
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        opens = self.load.reopens_at(line.model.endpoints) if line.held else None
        if opens is not None:
            seconds = max(opens - self._clock(), 0.0) + _TIMER_SLACK_SECONDS
            line.timer = asyncio.get_running_loop().call_later(seconds, self.wake, line)

    # The world

    def publish(self, snapshot: Snapshot) -> None:
        """Take up a new snapshot. Whose model has vanished, or has no hope left, is refused."""
        models = {model.key: model for model in snapshot.models}
        for key in self.lines.keys() - models.keys():
            line = self.lines[key]
            self._refuse_all(line, _VANISHED)
            self._set_timer(line)
            del self.lines[key]
        for key, model in models.items():
            self._renew(self.lines.setdefault(key, Line(model)), model)
        present = self._present()
        self.owners = {**self._departed(), **present}
        self.load.forget_but(present)

    def _renew(self, line: Line, model: Model) -> None:
        departed = {one.key for one in line.model.endpoints} - {one.key for one in model.endpoints}
        line.model = model
        if departed and not model.endpoints:
            line.residency.asked = None  # it was said of that load
        if departed:
            line.memory.keep_only({one.key for one in model.endpoints})
        if model.endpoints and line.waking_since is not None:
            line.start_seconds = self._clock() - line.waking_since
            line.waking_since = None
        if line.held:
            hopeless = admission.hopeless(model)
            if hopeless is not None:
                self._refuse_all(line, hopeless)
            self.wake(line)

    def _present(self) -> dict[str, Line]:
        return {one.key: line for line in self.lines.values() for one in line.model.endpoints}

    def _departed(self) -> dict[str, Line]:
        """Endpoints that have left the snapshot and still answer."""
        counts = self.load.in_flight
        return {key: line for key, line in self.owners.items() if key in counts}

    def _refuse_all(self, line: Line, refused: Refused) -> None:
        for held in list(line.held):
            self._refuse(line, held, refused)

    def close(self) -> None:
        """The gateway is leaving: nobody is held any more, and nobody will be."""
        self.closed = True
        for line in self.lines.values():
            self._refuse_all(line, _LEAVING)

    # What others ask

    def current(self, model: Model) -> Model:
        """The model as it is now, for a request that has waited."""
        line = self.lines.get(model.key)
        return model if line is None else line.model

    def estimate(self, model: Model) -> float | None:
        """Seconds until a request that is held now goes on; None is unknown."""
        line = self.lines.get(model.key)
        if line is None:
            return None
        since = line.waking_since
        waking = None if since is None else self._clock() - since
        starts = Starts(line.start_seconds, waking, line.hold_seconds)
        return admission.estimate(line.model, starts)

    def idle_seconds(self, line: Line) -> float | None:
        """Since a request last arrived or ended; None: none has. From any thread."""
        return _told(line.residency.idle(self._clock()))

    def asked_seconds(self, line: Line) -> float | None:
        """Since a request last arrived; None: none has. From any thread."""
        return _told(line.residency.unasked(self._clock()))

    def works(self, line: Line) -> bool:
        """A request waits for the model, or is being answered by it."""
        counts = self.load.in_flight
        return bool(line.held) or any(one.key in counts for one in line.model.endpoints)

    def oldest_seconds(self, line: Line) -> float:
        """How long the first held request has waited. From any thread."""
        since = line.since
        return 0.0 if since is None else max(self._clock() - since, 0.0)


def _told(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _waited(held: Held) -> str:
    seconds = held.model.max_wait_seconds
    return f"no replica of {held.model.name} took the request within {seconds} s; try again later"
