"""What the residency law goes by: a pool at one moment.

Nothing here is remembered by a process. Objects of the API server and the pods' own reports tell
all of it, so an operator that is restarted between two decisions decides the same. All moments are
seconds on one clock, which has to outlive the process: the wall clock's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

State = Literal[
    "Loading",  # ordered, and does not serve yet
    "Serving",
    "Draining",  # no longer ordered, and not gone yet; takes nothing new
    "Failed",
]


@dataclass(frozen=True)
class Policy:
    min_residency_seconds: float  # that one serves before it may be evicted for another
    starvation_seconds: float  # that one waits before busy ones are closed for it
    max_engines: int | None = None  # in one pod; None: as many as have room


@dataclass(frozen=True)
class PodRoom:
    """A pod of the pool. One that is lost is left out, by whoever has stopped to wait for it."""

    uid: str
    cards: tuple[int, ...]  # bytes of each that engines may share; on CPU one of host memory
    ready: bool = True  # to take orders
    terminating: bool = False

    @property
    def takes_orders(self) -> bool:
        return self.ready and not self.terminating


@dataclass(frozen=True)
class Engine:
    """What is loaded as one. Models that differ in name or template only share it."""

    id: str
    models: tuple[str, ...]  # whose spec asks for it now
    card_bytes: int  # of each of its cards
    load_seconds: float  # expected, to bring it back
    cards: int = 1  # one per tensor-parallel rank, all in one pod
    priority: int = 0
    evictable: bool = True  # for others; else it goes by its own keep-alive only
    pinned_since: float | None = None  # loaded by name, or by a keep-alive without end
    unload_asked: float | None = None  # whoever asks for the model later takes it back
    keep_alive_seconds: float | None = None  # 0: goes as soon as it is idle; None: for ever
    blocked_until: float | None = None  # after a failure
    supersedes: str | None = None  # engine whose place it takes in a roll-out
    paused: bool = False  # a model of its is: where it is, it is left as it is

    @property
    def pinned(self) -> bool:
        return self.pinned_since is not None and bool(self.models)


@dataclass(frozen=True)
class Demand:
    """For one engine, over all gateways, in requests.

    Those that are held for a model count for the engine that its spec asks for now; those in flight
    for the engine that has them.
    """

    held: int = 0
    oldest_held_seconds: float = 0.0
    in_flight: int = 0
    idle_seconds: float | None = None  # since a request last came or ended; None: not known of any
    last_wanted: float | None = None  # when a request last came

    @property
    def busy(self) -> bool:
        return self.held > 0 or self.in_flight > 0


@dataclass(frozen=True)
class Resident:
    """An engine at one pod, as ordered and as the pod reports it."""

    engine: str
    pod: str  # uid
    cards: tuple[int, ...]  # indexes
    state: State
    since: float  # when it was ordered while it loads; else when it began to serve
    withheld: int = 0  # bytes of each of its cards that it has by now, or has not given back

    @property
    def stays(self) -> bool:
        """Whether it is ordered."""
        return self.state in {"Loading", "Serving"}

    @property
    def begun(self) -> bool:
        """A load that still waits for its room can be taken back, and nothing is lost."""
        return self.state != "Loading" or self.withheld > 0

    def drains_of(self, engine: str) -> bool:
        return self.engine == engine and self.state == "Draining"


NO_DEMAND = Demand()


@dataclass(frozen=True)
class Pool:
    now: float
    policy: Policy
    pods: tuple[PodRoom, ...]
    engines: tuple[Engine, ...]
    residents: tuple[Resident, ...] = ()
    demand: Mapping[str, Demand] = field(default_factory=dict)  # by engine

    @cached_property
    def engine(self) -> Mapping[str, Engine]:
        return {one.id: one for one in self.engines}

    @cached_property
    def pod(self) -> Mapping[str, PodRoom]:
        return {one.uid: one for one in self.pods}

    @cached_property
    def home(self) -> Mapping[str, Resident]:
        """Of each engine that is ordered at some pod; of two the first."""
        return {one.engine: one for one in reversed(self.residents) if one.stays}

    def asked(self, engine: str) -> Demand:
        return self.demand.get(engine, NO_DEMAND)

    def idle_for(self, resident: Resident) -> float:
        """Seconds. One that has just been loaded has not been idle since before that."""
        served = max(0.0, self.now - resident.since)
        idle = self.asked(resident.engine).idle_seconds
        return served if idle is None else min(idle, served)
