"""One engine of a pool, from its start until its memory was seen to be free again.

It does what `steps` decided and never decides by itself; `changed` is called when there is
something new to decide.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from berth_api.pool_server import EngineOrder
from berth_api.server import EngineStatus, Phase
from berth_api.shape import Failure
from berth_server import drain, launch, reasons, variables
from berth_server.args import Command, Door
from berth_server.compiled import Compiled
from berth_server.engine import Engine, Limits
from berth_server.errors import ConfigurationError, EngineFailed
from berth_server.ledger import Share, share_of
from berth_server.pod import result
from berth_server.status import State
from berth_server.steps import Held, Stage

# As `drain` does it: an idle engine is found at once, and a busy one loses nothing.
_DRAIN_POLL_SECONDS: Final = 0.25
# The kernel takes seconds to take a process apart that had a card open; more is a fault.
FREED_SECONDS: Final = 30.0
_FREED_POLL_SECONDS: Final = 0.5
_KEY_MODE: Final = 0o600


class Launched(NamedTuple):
    process: launch.Process
    warm: bool


@dataclass(frozen=True)
class Means:
    """What a pool gives to all of its engines.

    `withheld` says why memory is not free again, with the engine's session (None if it never had
    one) and its share; None when it is.
    """

    launch: Callable[[str, Command, Callable[[str], None]], Awaitable[Launched]]
    withheld: Callable[[int | None, str], Awaitable[str | None]]
    changed: Callable[[], None]
    keys: Path
    clock: Callable[[], float]
    compiled: Compiled | None = None


class Resident:
    def __init__(self, order: EngineOrder, means: Means) -> None:
        self.order = order
        self.share: Share = share_of(order)
        self.gone = False
        self._means = means
        self._stage = Stage.STARTING
        self._idle = False
        self._drained = False  # what is wanted of its drain: True is refuse
        self._warm: bool | None = None
        self._ready_seconds: float | None = None
        self._process: launch.Process | None = None
        self._over = asyncio.Event()
        self._leave = asyncio.Event()
        self._state = State(
            started_seconds=means.clock(),
            engine_names=(order.config.name,),
            expected_start_seconds=order.expected_start_seconds,
        )
        limits = Limits(order.start_timeout_seconds, order.stall_timeout_seconds)
        self._engine = Engine(order.config, limits, order.key, self._state, means.clock)
        self._life = asyncio.create_task(self._live())
        self._life.add_done_callback(lambda _: means.changed())
        self._control: asyncio.Task[None] | None = None

    def raise_errors(self) -> None:
        """Of a life that ended as none should: the pod must not go on with it."""
        for task in (self._life, self._control):
            if task and task.done() and not task.cancelled():
                task.result()

    @property
    def held(self) -> Held:
        return Held(
            id=self.order.id,
            share=self.share,
            port=self.order.config.port,
            stage=self._stage,
            attempt=self.order.attempt,
            idle=self._idle,
        )

    @property
    def in_flight(self) -> int:
        return self._state.in_flight

    def status(self, pod_started_seconds: float) -> EngineStatus:
        told = self._state.snapshot(self._means.clock())
        ready = self._ready_seconds
        return told.engines[0].model_copy(
            update={
                "id": self.order.id,
                "attempt": self.order.attempt,
                "port": self.order.config.port,
                "cards": list(self.order.cards),
                "memory_bytes": self.order.memory_bytes,
                "in_flight": told.in_flight,
                "percent": told.percent,
                "eta_seconds": told.eta_seconds,
                "message": told.message,
                "started_seconds": round(self._state.started_seconds - pod_started_seconds, 3),
                "ready_seconds": None if ready is None else round(ready - pod_started_seconds, 3),
                "warm": self._warm,
            }
        )

    def drain(self) -> None:
        """Refuses new work; what is in flight has all the time that it makes progress in."""
        self._stage, self._drained, self._idle = Stage.DRAINING, True, False
        if self._control is None or self._control.done():
            self._control = asyncio.create_task(self._refuse_or_admit())

    def resume(self) -> None:
        """Takes `drain` back."""
        self._drained = self._idle = False

    def stop(self) -> None:
        self._stage = Stage.STOPPING
        self._enter(Phase.DRAINING, "ending")
        self._leave.set()

    async def end(self, drain_seconds: float) -> None:
        """The pod's own end: at the deadline what is in flight is cut, and memory is nobody's."""
        if self._process is None or self._over.is_set():
            self._life.cancel()
            return
        if self._stage in {Stage.SERVING, Stage.DRAINING}:
            self.drain()
            client = self._engine.client
            await drain.finish(client, self._process, drain_seconds, self._report_in_flight)
        self.stop()
        await self._over.wait()
        self._life.cancel()

    async def _live(self) -> None:
        try:
            failure = await self._run()
        except EngineFailed as error:
            failure = error.failure
        except ConfigurationError as error:
            fix = "correct the pool's order: see the operator's log"
            failure = Failure(reason=reasons.CRASH_LOOP, message=str(error), fix=fix)
        self._over.set()
        if failure:
            self._state.fail(failure, self._means.clock())
        await self._give_back()
        if failure:
            self._state.fail(failure, self._means.clock())
        self._stage, self.gone = Stage.FAILED, failure is None
        self._means.changed()

    async def _run(self) -> Failure | None:
        """Why the engine has ended; None if it was to end. Raises EngineFailed."""
        self._enter(Phase.STARTING)
        await self._engine.prepare(self._means.compiled)
        key_file = self._write_key()
        try:
            command = self._engine.command(Door(str(key_file), self.order.max_queued_requests))
            launched = await self._means.launch(
                self.order.id, seeing(command, self.order.cards), self._engine.read
            )
            self._process, self._warm = launched
            return await self._serve(launched.process)
        finally:
            key_file.unlink(missing_ok=True)

    async def _serve(self, process: launch.Process) -> Failure | None:
        serving = asyncio.create_task(self._prove_and_watch(process))
        ended = asyncio.create_task(process.wait())
        leave = asyncio.create_task(self._leave.wait())
        await asyncio.wait({serving, ended, leave}, return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, leave):
            task.cancel()
        self._stage = Stage.STOPPING
        if self._leave.is_set():
            if not await drain.stop(process):
                self._enter(Phase.DRAINING, "killed: it did not end when it was asked to")
            return None
        return (await self._engine.explain(process, await result(serving))).failure

    async def _prove_and_watch(self, process: launch.Process) -> Failure:
        if failure := await self._engine.prove(process):
            return failure
        self._stage, self._ready_seconds = Stage.SERVING, self._means.clock()
        self._means.changed()
        return await self._engine.watch()

    async def _refuse_or_admit(self) -> None:
        """One after the other, so that no answer to an old question comes after a new one."""
        while self._stage is Stage.DRAINING:
            if self._drained:
                left = await drain.refuse_new(self._engine.client)
                self._note_left(left)
            elif await drain.admit_again(self._engine.client):
                self._admitted()
            await asyncio.sleep(_DRAIN_POLL_SECONDS)

    def _note_left(self, left: int | None) -> None:
        if left is None or self._stage is not Stage.DRAINING or not self._drained:
            return
        self._report_in_flight(left)
        if left == 0 and not self._idle:
            self._idle = True
            self._means.changed()

    def _admitted(self) -> None:
        if self._stage is Stage.DRAINING and not self._drained:
            self._stage = Stage.SERVING
            self._enter(Phase.SERVING)
            self._means.changed()

    def _report_in_flight(self, left: int) -> None:
        self._state.in_flight = left
        self._enter(Phase.DRAINING, f"draining {left} requests")

    async def _give_back(self) -> None:
        """Returns when the engine's memory is free; its share is withheld until then."""
        self._stage = Stage.STOPPING
        session = self._process.pid if self._process else None
        deadline = self._means.clock() + FREED_SECONDS
        while why := await self._means.withheld(session, self.order.id):
            if self._means.clock() > deadline and self._stage is not Stage.WITHHELD:
                self._stage = Stage.WITHHELD
                self._state.fail(not_freed(why), self._means.clock())
                self._means.changed()
            await asyncio.sleep(_FREED_POLL_SECONDS)

    def _enter(self, phase: Phase, message: str = "") -> None:
        self._state.enter(phase, self._means.clock(), message)

    def _write_key(self) -> Path:
        """For the middleware; nobody else may read it. Raises ConfigurationError."""
        path = self._means.keys / self.order.id
        try:
            self._means.keys.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(path, flags, _KEY_MODE), "w") as opened:
                opened.write(self.order.key)
        except OSError as error:
            raise ConfigurationError(f"the engine key cannot be written: {error}") from error
        return path


def seeing(command: Command, cards: list[int]) -> Command:
    """`command` with `cards` as the only ones, counted as the driver's tools count them."""
    if not cards:
        return command
    ours = {
        variables.VISIBLE_CARDS: ",".join(map(str, cards)),
        variables.CARD_ORDER: variables.BY_BUS,
    }
    return replace(command, environment=command.environment | ours)


def not_freed(why: str) -> Failure:
    return Failure(
        reason=reasons.MEMORY_NOT_FREED,
        message=f"the engine has ended and its memory is not free after {FREED_SECONDS:g} s: {why}",
        fix="its share is withheld; if it stays so, delete the pod, and look at the node's driver",
    )
