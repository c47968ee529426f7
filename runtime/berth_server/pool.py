"""A pool's pod: several engines, loaded and unloaded as it is ordered, while it lives.

`orders` says what can be obeyed, `steps` what comes next, a `Resident` does it; here they meet. A
crash of one engine is its own: the pod and the others go on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from berth_api.pool_server import EngineOrder, EngineOrders, PoolConfig
from berth_api.server import CardStatus, EngineStatus, Phase, PodStatus
from berth_server import cards, compiled, cpus, orders, processes
from berth_server.cards import Driver, Memory
from berth_server.errors import CardsUnreadable, OrdersTooLate
from berth_server.ledger import Ledger, share_of
from berth_server.pod import Outcome
from berth_server.resident import Means, Resident
from berth_server.starts import Starts
from berth_server.steps import Do, Held, Situation, Stage, Step, Wanted, gib, next_steps

_log = logging.getLogger("berth.server")

# While an engine waits for memory, and while nothing is to be done: the driver is asked each time.
_WAITING_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 15.0
_KEYS: Final = "engine-keys"


class Pool:
    """`memory` is what the driver said before any engine; `clock()` is monotonic seconds."""

    def __init__(
        self,
        config: PoolConfig,
        memory: Mapping[int, Memory],
        inherited: dict[str, str],
        clock: Callable[[], float],
        driver: Driver = cards.read,
    ) -> None:
        self._config = config
        self._totals = {index: one.total for index, one in memory.items()}
        self._idle_bytes = {index: one.total - one.free for index, one in memory.items()}
        self._free = _free(memory) if config.cards else None
        self._clock = clock
        self._driver = driver
        self._started_seconds = clock()
        self._orders = EngineOrders(sequence=0, engines=[])
        self._residents: dict[str, Resident] = {}
        self._waits: dict[str, str] = {}
        self._before: dict[str, dict[int, int]] = {}
        self._changed = asyncio.Event()
        self._draining = False
        self._starts = Starts(config, inherited)
        keys = Path(config.run_dir) / _KEYS
        kept = compiled.of(config.compiled, config.device, inherited)
        self._means = Means(
            self._starts.start, self._withheld, self._changed.set, keys, clock, kept
        )

    async def run(self, stop: asyncio.Event) -> Outcome:
        """Until SIGTERM was obeyed."""
        asked = asyncio.create_task(stop.wait())
        async with self._starts.ready(self._changed.set):
            while not stop.is_set():
                self._changed.clear()
                await self._pass()
                await self._sleep(asked)
            self._draining = True
            limit = self._config.drain_timeout_seconds
            await asyncio.gather(*(one.end(limit) for one in self._residents.values()))
        return Outcome(exit_code=0)

    async def _sleep(self, asked: asyncio.Task[bool]) -> None:
        """Until something has changed, or a look is due."""
        changed = asyncio.create_task(self._changed.wait())
        seconds = _WAITING_SECONDS if self._waits else _IDLE_SECONDS
        await asyncio.wait({asked, changed}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()

    def obey(self, body: bytes) -> None:
        """Takes orders in. Raises OrdersRefused and OrdersTooLate; then nothing has changed."""
        found = orders.read(body)
        if found.sequence < self._orders.sequence:
            raise OrdersTooLate(
                f"sequence {found.sequence}: {self._orders.sequence} was seen; "
                "these orders are an old leader's"
            )
        if self._draining:
            raise OrdersTooLate("this pod is ending")
        running = {id_: one.order for id_, one in self._residents.items() if one.held.has_share}
        orders.check(found, orders.Pool(self._config, self._totals, cpus.available(), running))
        self._orders = found
        self._changed.set()

    async def _pass(self) -> None:
        """Looks once, and does what is next."""
        seen = await self._look()
        for one in self._residents.values():
            one.raise_errors()
        self._residents = {id_: one for id_, one in self._residents.items() if not one.gone}
        if seen:
            self._note_taken(seen)
        self._waits = {}
        for step in next_steps(self._situation()):
            self._take(step)

    async def _look(self) -> dict[int, int] | None:
        """Bytes free by card, None if nobody says; a driver that is silent grants nothing."""
        if self._free is None:
            return None
        try:
            self._free = _free(await self._driver())
        except CardsUnreadable as error:
            _log.warning("no engine is started: %s", error)
            self._free = dict.fromkeys(self._totals, 0)
            return None
        return self._free

    def _note_taken(self, free: Mapping[int, int]) -> None:
        """What an engine that has just become ready took of its cards."""
        for id_, before in list(self._before.items()):
            one = self._residents.get(id_)
            if one is None or one.held.stage is not Stage.STARTING:
                del self._before[id_]
            if one is not None and one.held.stage is Stage.SERVING:
                took = max(before[card] - free.get(card, 0) for card in one.share.cards)
                one.share = replace(one.share, took=took)

    def _situation(self) -> Situation:
        wanted = tuple(
            Wanted(order.id, share_of(order), order.config.port, order.attempt)
            for order in self._orders.engines
        )
        return Situation(wanted, self._held(), self._totals, self._free)

    def _held(self) -> tuple[Held, ...]:
        return tuple(one.held for one in self._residents.values())

    def _ledger(self, without: str | None = None) -> Ledger:
        """Of all shares that are held, but that of the engine `without`."""
        shares = (one.share for one in self._held() if one.has_share and one.id != without)
        return Ledger(self._totals, tuple(shares))

    def _take(self, step: Step) -> None:
        if step.do is Do.WAIT:
            self._waits[step.id] = step.why
            return
        _log.info("engine %s: %s", step.id, step.do.value)
        if step.do is Do.START:
            if self._free is not None:
                self._before[step.id] = self._free
            self._residents[step.id] = Resident(self._order(step.id), self._means)
        elif step.do is Do.FORGET:
            del self._residents[step.id]
        else:
            one = self._residents[step.id]
            {Do.DRAIN: one.drain, Do.RESUME: one.resume, Do.STOP: one.stop}[step.do]()

    def _order(self, id_: str) -> EngineOrder:
        return next(order for order in self._orders.engines if order.id == id_)

    async def _withheld(self, session: int | None, id_: str) -> str | None:
        """Why the memory of an engine that has ended is not free; None if it is."""
        left = [] if session is None else await asyncio.to_thread(processes.alive, session)
        if left:
            return f"{len(left)} of its processes live"
        if not self._config.cards:
            return None
        try:
            free = _free(await self._driver())
        except CardsUnreadable as error:
            return str(error)
        return self._short_of(free, id_)

    def _short_of(self, free: Mapping[int, int], id_: str) -> str | None:
        ledger = self._ledger(without=id_)
        for card in self._residents[id_].share.cards:
            least = ledger.least_free(card, self._idle_bytes[card])
            if free.get(card, 0) < least:
                return f"card {card} has {gib(free.get(card, 0))} free, not {gib(least)}"
        return None

    @property
    def phase(self) -> Phase:
        if self._draining:
            return Phase.DRAINING
        return Phase.SERVING if self._starts.settled else Phase.STARTING

    @property
    def ready(self) -> bool:
        return self.phase is Phase.SERVING

    @property
    def may_become_ready(self) -> bool:
        return self.phase is Phase.STARTING

    def snapshot(self, _now_seconds: float) -> PodStatus:
        held = self._residents.keys()
        waiting = [self._waiting(one) for one in self._orders.engines if one.id not in held]
        return PodStatus(
            phase=self.phase,
            message="importing what engines import" if self.may_become_ready else "",
            in_flight=sum(one.in_flight for one in self._residents.values()),
            draining=self._draining,
            engines=[*map(self._told, self._residents.values()), *waiting],
            sequence=self._orders.sequence,
            cards=self._cards(),
        )

    def _told(self, one: Resident) -> EngineStatus:
        told = one.status(self._started_seconds)
        why = self._waits.get(one.order.id)
        return told.model_copy(update={"message": why}) if why else told

    def _waiting(self, order: EngineOrder) -> EngineStatus:
        return EngineStatus(
            name=order.config.name,
            phase=Phase.PENDING,
            id=order.id,
            attempt=order.attempt,
            port=order.config.port,
            cards=list(order.cards),
            memory_bytes=order.memory_bytes,
            message=self._waits.get(order.id, ""),
        )

    def _cards(self) -> list[CardStatus]:
        ledger = self._ledger()
        return [
            CardStatus(
                index=card,
                total_bytes=total,
                free_bytes=None if self._free is None else self._free.get(card),
                granted_bytes=ledger.granted(card),
            )
            for card, total in sorted(self._totals.items())
        ]


def _free(memory: Mapping[int, Memory]) -> dict[int, int]:
    """Bytes free, by card."""
    return {index: one.free for index, one in memory.items()}
