"""A pool's pod as `berth_server.pool` behaves, in a few states and on somebody else's clock.

It takes orders by their sequence, starts one engine at a time and only on memory that is free, lets
requests finish before it ends an engine, and forgets a failed one that it is not to hold any more.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from berth_api import names
from berth_api.pool_server import EngineOrder, EngineOrders
from berth_api.server import EngineStatus, Phase, PodStatus
from berth_api.shape import Failure

LOAD_SECONDS = 2.0
STOP_SECONDS = 1.0


@dataclass
class Loaded:
    """One engine of the pod."""

    order: EngineOrder
    phase: Phase
    since: float  # when it came into its phase
    in_flight: int = 0
    ready: float | None = None


@dataclass
class ObedientPod:
    name: str
    cards: tuple[int, ...]  # bytes of each; on CPU one
    clock: Callable[[], float]  # seconds since its container began
    failing: Collection[str] = ()  # served names whose engines fail
    key: str | None = None  # of the last orders
    sequence: int | None = None
    ordered: dict[str, EngineOrder] = field(default_factory=dict)
    loaded: dict[str, Loaded] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)

    def obey(self, body: dict[str, Any], headers: Mapping[str, str]) -> tuple[int, bytes]:
        orders = EngineOrders.model_validate(body)
        if self.sequence is not None and orders.sequence < self.sequence:
            return HTTPStatus.CONFLICT, f"sequence {self.sequence} is newer".encode()
        self.key = headers[names.HEADER_POOL_KEY]
        self.sequence = orders.sequence
        self.ordered = {one.id: one for one in orders.engines}
        return HTTPStatus.OK, self.status()

    def status(self) -> bytes:
        waiting = (one for id_, one in self.ordered.items() if id_ not in self.loaded)
        told = PodStatus(
            phase=Phase.SERVING,
            sequence=self.sequence,
            engines=[
                *map(_told, self.loaded.values()),
                *(_told(Loaded(one, Phase.PENDING, self.clock())) for one in waiting),
            ],
        )
        return told.wire().encode()

    def step(self) -> None:
        """What it does by itself, once; ends go before starts."""
        for one in list(self.loaded.values()):
            self._go_on(one)
        for id_, order in self.ordered.items():
            held = self.loaded.get(id_)
            again = held is not None and held.phase is Phase.FAILED
            if held is not None and not (again and order.attempt > held.order.attempt):
                continue
            if self._may_start(order):
                self.loaded[id_] = Loaded(order, Phase.STARTING, self.clock())
                self.starts.append(id_)

    def fail(self, id_: str) -> None:
        one = self.loaded[id_]
        one.phase, one.since, one.in_flight, one.ready = Phase.FAILED, self.clock(), 0, None

    def used(self, card: int) -> int:
        """Bytes; a failed engine has given back its own."""
        living = (one for one in self.loaded.values() if one.phase is not Phase.FAILED)
        return sum(one.order.memory_bytes for one in living if card in (one.order.cards or [0]))

    def _go_on(self, one: Loaded) -> None:
        id_, spent = one.order.id, self.clock() - one.since
        wanted = id_ in self.ordered
        if one.phase is Phase.STARTING and wanted and spent >= LOAD_SECONDS:
            if one.order.config.model_dir in self.failing:
                self.fail(id_)
            else:
                one.phase, one.since, one.ready = Phase.SERVING, self.clock(), self.clock()
        elif one.phase is Phase.DRAINING and wanted:
            one.phase = Phase.SERVING  # taken back
        elif one.phase in (Phase.SERVING, Phase.STARTING) and not wanted:
            one.phase, one.since = Phase.DRAINING, self.clock()
        elif not wanted and self._has_ended(one):
            del self.loaded[id_]

    def _has_ended(self, one: Loaded) -> bool:
        if one.phase is Phase.DRAINING:
            return not one.in_flight and self.clock() - one.since >= STOP_SECONDS
        return one.phase is Phase.FAILED

    def _may_start(self, order: EngineOrder) -> bool:
        if any(one.phase is Phase.STARTING for one in self.loaded.values()):
            return False
        ports = {one.order.config.port for one in self.loaded.values()}
        free = all(
            self.used(card) + order.memory_bytes <= self.cards[card] for card in order.cards or [0]
        )
        return free and order.config.port not in ports


def _told(one: Loaded) -> EngineStatus:
    failed = Failure(reason="CrashLoop", message="it was told to fail", fix="none")
    return EngineStatus(
        name=one.order.config.name,
        phase=one.phase,
        failure=failed if one.phase is Phase.FAILED else None,
        id=one.order.id,
        attempt=one.order.attempt,
        port=one.order.config.port,
        cards=one.order.cards,
        memory_bytes=one.order.memory_bytes,
        in_flight=one.in_flight,
        started_seconds=one.since if one.ready is None else one.ready - LOAD_SECONDS,
        ready_seconds=one.ready,
    )
