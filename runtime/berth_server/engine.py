"""One engine, as its wrapper knows it: started, proved, watched, and why it is no good.

Everything after the start goes through the engine's own API. What follows from a failure is for the
pod to say: a dedicated one ends with its engine, and a pool's goes on with the others.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berth_api.server import EngineConfig, Measured, Phase
from berth_api.shape import Failure
from berth_server import (
    args,
    cpus,
    crash,
    drain,
    engine_version,
    launch,
    metrics,
    model_files,
    probe,
    processes,
    reasons,
    stall,
)
from berth_server.client import Client
from berth_server.compiled import Brought, Compiled
from berth_server.errors import EngineFailed, EngineUnreachable
from berth_server.status import Requests, State

_log = logging.getLogger("berth.server")

# A port that refuses costs next to nothing, and a warm start takes three seconds.
_LISTEN_POLL_SECONDS: Final = 0.1
# One look costs the engine a metrics page; a stall timeout is minutes.
_WATCH_SECONDS: Final = 5.0
_METRICS_TIMEOUT_SECONDS: Final = 10.0
# vLLM's API server follows its dead workers within 5 s; its log then says why.
_FOLLOWS_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Limits:
    """How long an engine may take: to its first token, and without a step while it has work."""

    start_seconds: int
    stall_seconds: int


@dataclass(frozen=True)
class Ended:
    """`returncode` is None where the engine did not end by itself."""

    failure: Failure
    returncode: int | None = None


class Engine:
    """`state` is this engine's; `clock()` is monotonic seconds."""

    def __init__(
        self,
        config: EngineConfig,
        limits: Limits,
        key: str,
        state: State,
        clock: Callable[[], float],
    ) -> None:
        self.client = Client(config.port, key)
        self._config = config
        self._limits = limits
        self._state = state
        self._clock = clock
        self._brought: Brought | None = None

    async def prepare(self, compiled: Compiled | None) -> None:
        """Before the start: has what earlier ones have compiled."""
        if compiled is not None:
            self._brought = await asyncio.to_thread(compiled.bring, self._config)

    def command(self, admits: args.Admits) -> args.Command:
        """Raises EngineFailed and ConfigurationError."""
        engine_version.check(self._config)
        folder = model_files.find(Path(self._config.model_dir))
        return args.command(self._config, admits, str(folder), cpus.available())

    def read(self, line: str) -> None:
        """Takes in one line of the engine's log."""
        self._state.read(self._config.name, line, self._clock())

    async def serve(self, process: launch.Process) -> Failure:
        """Proves the engine and watches it; returns only with what is wrong."""
        return await self.prove(process) or await self.watch()

    async def prove(self, process: launch.Process) -> Failure | None:
        """Waits for the first token; why there will be none, or None."""
        limit = self._limits.start_seconds
        try:
            await asyncio.wait_for(self._become_ready(process), limit)
        except asyncio.TimeoutError:
            return crash.timed_out(limit, f"in phase {self._state.phase.value}")
        except EngineFailed as error:
            return error.failure
        except EngineUnreachable as error:
            fix = "read the pod's log"
            return Failure(reason=reasons.CRASH_LOOP, message=str(error), fix=fix)
        return None

    async def _become_ready(self, process: launch.Process) -> None:
        while not await probe.listening(self.client):  # noqa: ASYNC110 -- it is in another process
            await asyncio.sleep(_LISTEN_POLL_SECONDS)
        self._state.enter(Phase.WARMING, self._clock(), "generating the first token")
        await probe.first_token(self.client, self._config.name)
        self._state.measure(self._config.name, await self._measure(process))
        self._state.enter(Phase.SERVING, self._clock())
        _log.info("engine %s serves", self._config.name)

    async def watch(self) -> Failure:
        """Returns when the engine has stalled."""
        await self._keep_compiled()
        watch = stall.Watch(since_seconds=self._clock())
        limit = self._limits.stall_seconds
        while True:
            gauges = await self._gauges()
            watch = stall.observe(watch, self._clock(), self._state.in_flight, gauges)
            left = limit - stall.stalled_seconds(watch, self._clock())
            if left <= 0:
                return crash.stalled(limit, self._state.in_flight)
            await asyncio.sleep(min(_WATCH_SECONDS, left))

    async def _keep_compiled(self) -> None:
        brought, self._brought = self._brought, None
        if brought is not None:
            await asyncio.to_thread(brought.keep)

    async def _gauges(self) -> metrics.Gauges | None:
        try:
            self._state.in_flight = await drain.in_flight(self.client)
            page = await self.client.get("/metrics", _METRICS_TIMEOUT_SECONDS)
        except EngineUnreachable as error:
            _log.warning("the engine did not answer: %s", error)
            self._state.requests.clear()
            return None
        gauges = metrics.read(page.body.decode(errors="replace"))
        requests = Requests(_whole(gauges.running), _whole(gauges.waiting))
        self._state.requests[self._config.name] = requests
        return gauges

    async def _measure(self, process: launch.Process) -> Measured:
        gauges = await self._gauges()
        resident = await asyncio.to_thread(processes.resident_bytes, process.pid)
        found = gauges.measured if gauges else Measured()
        return found.model_copy(update={"resident_bytes": resident})

    async def explain(self, process: launch.Process, broken: Failure | None) -> Ended:
        """Ends the engine, and says why: from its log where it died, else what was seen."""
        deliberate = broken is not None and broken.reason in (reasons.STALLED, reasons.LOAD_TIMEOUT)
        if not deliberate:
            await asyncio.wait({asyncio.create_task(process.wait())}, timeout=_FOLLOWS_SECONDS)
        died = process.ended
        await process.destroy()
        code = await process.wait()
        if broken is None or (died and not deliberate):
            return Ended(crash.explain(tuple(process.tail), code), code)
        return Ended(broken)


def unexecutable(error: Exception) -> EngineFailed:
    fix = "correct the engine profile's command for this image"
    message = f"the engine cannot be executed: {error}"
    return EngineFailed(Failure(reason=reasons.CRASH_LOOP, message=message, fix=fix))


def _whole(gauge: float | None) -> int | None:
    return None if gauge is None else int(gauge)
