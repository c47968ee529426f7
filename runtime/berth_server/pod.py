"""A runtime pod's life: start the engine, prove it, watch it, drain it, and say how it ended.

The one place where the parts meet; each decision is in a module of its own. An engine that dies
ends the pod: what to do about that is the kubelet's and the operator's business.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berth_api.server import EngineConfig, Measured, Phase, ServerConfig
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
from berth_server.errors import ConfigurationError, EngineFailed, EngineUnreachable
from berth_server.status import Requests, State

_log = logging.getLogger("berth.server")

# A port that opens is noticed within half a second; the start takes tens of them.
_LISTEN_POLL_SECONDS: Final = 0.5
# One look costs the engine a metrics page; a stall timeout is minutes.
_WATCH_SECONDS: Final = 5.0
_METRICS_TIMEOUT_SECONDS: Final = 10.0
# vLLM's API server follows its dead workers within 5 s; its log then says why.
_FOLLOWS_SECONDS: Final = 10.0
_SIGNAL_EXIT: Final = 128


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    failure: Failure | None = None


class Pod:
    """One engine and its wrapper. `clock()` is monotonic seconds."""

    def __init__(
        self, config: ServerConfig, key: str, state: State, clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._engine_config = only_engine(config)
        self._client = Client(self._engine_config.port, key)
        self._state = state
        self._clock = clock

    async def run(self, inherited: dict[str, str], stop: asyncio.Event) -> Outcome:
        """From exec to the end; `stop` is set by SIGTERM. Raises ConfigurationError."""
        try:
            engine = self._start(inherited)
        except EngineFailed as error:
            return self._failed(error.failure, 1)
        watch_children(engine)
        serving = asyncio.create_task(self._serve(engine))
        ended = asyncio.create_task(engine.wait())
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        asked.cancel()
        if stop.is_set():
            return await self._drain(engine)
        broken = await _result(serving)
        return await self._explain(engine, broken)

    def _start(self, inherited: dict[str, str]) -> launch.Process:
        config = self._engine_config
        self._state.enter(Phase.STARTING, self._clock())
        engine_version.check(config)
        folder = model_files.find(Path(config.model_dir))
        command = args.command(config, self._config, str(folder), cpus.available())
        _log.info("engine: %s", " ".join(command.argv))
        try:
            return launch.start(command, inherited, self._on_line)
        except OSError as error:
            fix = "correct the engine profile's command for this image"
            message = f"the engine cannot be executed: {error}"
            failure = Failure(reason=reasons.CRASH_LOOP, message=message, fix=fix)
            raise EngineFailed(failure) from error

    async def _serve(self, engine: launch.Process) -> Failure:
        """Proves the engine and watches it; returns only with what is wrong."""
        limit = self._config.start_timeout_seconds
        try:
            await asyncio.wait_for(self._become_ready(engine), limit)
        except asyncio.TimeoutError:
            return crash.timed_out(limit, f"in phase {self._state.phase.value}")
        except EngineFailed as error:
            return error.failure
        except EngineUnreachable as error:
            fix = "read the pod's log"
            return Failure(reason=reasons.CRASH_LOOP, message=str(error), fix=fix)
        return await self._watch()

    async def _become_ready(self, engine: launch.Process) -> None:
        while not await probe.listening(self._client):  # noqa: ASYNC110 -- it is in another process
            await asyncio.sleep(_LISTEN_POLL_SECONDS)
        self._state.enter(Phase.WARMING, self._clock(), "generating the first token")
        await probe.first_token(self._client, self._engine_config.name)
        self._state.measure(self._engine_config.name, await self._measure(engine))
        self._state.enter(Phase.SERVING, self._clock())
        _log.info("engine %s serves", self._engine_config.name)

    async def _watch(self) -> Failure:
        watch = stall.Watch(since_seconds=self._clock())
        limit = self._config.stall_timeout_seconds
        while True:
            gauges = await self._gauges()
            watch = stall.observe(watch, self._clock(), self._state.in_flight, gauges)
            left = limit - stall.stalled_seconds(watch, self._clock())
            if left <= 0:
                return crash.stalled(limit, self._state.in_flight)
            await asyncio.sleep(min(_WATCH_SECONDS, left))

    async def _gauges(self) -> metrics.Gauges | None:
        try:
            self._state.in_flight = await drain.in_flight(self._client)
            page = await self._client.get("/metrics", _METRICS_TIMEOUT_SECONDS)
        except EngineUnreachable as error:
            _log.warning("the engine did not answer: %s", error)
            self._state.requests.clear()
            return None
        gauges = metrics.read(page.body.decode(errors="replace"))
        requests = Requests(_whole(gauges.running), _whole(gauges.waiting))
        self._state.requests[self._engine_config.name] = requests
        return gauges

    async def _measure(self, engine: launch.Process) -> Measured:
        gauges = await self._gauges()
        resident = await asyncio.to_thread(processes.resident_bytes, engine.pid)
        found = gauges.measured if gauges else Measured()
        return found.model_copy(update={"resident_bytes": resident})

    async def _drain(self, engine: launch.Process) -> Outcome:
        serving = self._state.phase is Phase.SERVING
        self._state.draining = True
        self._state.enter(Phase.DRAINING, self._clock())
        if serving:
            limit = self._config.drain_timeout_seconds
            cut = await drain.finish(self._client, engine, limit, self._report_in_flight)
            _log.log(logging.WARNING if cut else logging.INFO, "drained; %d requests are cut", cut)
        await drain.stop(engine)
        return Outcome(exit_code=0)

    async def _explain(self, engine: launch.Process, broken: Failure | None) -> Outcome:
        """Why the engine is no good: from its log where it died, else what we saw."""
        deliberate = broken is not None and broken.reason in (reasons.STALLED, reasons.LOAD_TIMEOUT)
        if not deliberate:
            await asyncio.wait({asyncio.create_task(engine.wait())}, timeout=_FOLLOWS_SECONDS)
        died = engine.ended
        await engine.destroy()
        code = await engine.wait()
        if broken is None or (died and not deliberate):
            return self._failed(crash.explain(tuple(engine.tail), code), exit_code(code))
        return self._failed(broken, 1)

    def _failed(self, failure: Failure, code: int) -> Outcome:
        self._state.fail(failure, self._clock())
        return Outcome(exit_code=code, failure=failure)

    def _on_line(self, line: str) -> None:
        self._state.read(self._engine_config.name, line, self._clock())

    def _report_in_flight(self, left: int) -> None:
        self._state.in_flight = left


def only_engine(config: ServerConfig) -> EngineConfig:
    """Pools of several engines are not served yet. Raises ConfigurationError."""
    if len(config.engines) != 1:
        raise ConfigurationError(f"one engine per pod is served, not {len(config.engines)}")
    return config.engines[0]


def exit_code(returncode: int) -> int:
    """As a shell has it: 128 and the signal. An engine that ends by itself is never a success."""
    return _SIGNAL_EXIT - returncode if returncode < 0 else returncode or 1


def watch_children(engine: launch.Process) -> None:
    """Reaps on every SIGCHLD, and once now, for a child that ended before."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, launch.reap, {engine.pid: engine})
    launch.reap({engine.pid: engine})


def _whole(gauge: float | None) -> int | None:
    return None if gauge is None else int(gauge)


async def _result(task: asyncio.Task[Failure]) -> Failure | None:
    try:
        return await task
    except asyncio.CancelledError:
        return None
