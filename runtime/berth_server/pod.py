"""A runtime pod's life: start the engine, prove it, watch it, drain it, and say how it ended.

The one place where the parts meet; each decision is in a module of its own. An engine that dies
ends the pod: what to do about that is the kubelet's and the operator's business.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from berth_api.server import EngineConfig, Phase, ServerConfig
from berth_api.shape import Failure
from berth_server import compiled, drain, launch
from berth_server.engine import Engine, Limits, unexecutable
from berth_server.errors import ConfigurationError, EngineFailed
from berth_server.status import State

_log = logging.getLogger("berth.server")

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
        limits = Limits(config.start_timeout_seconds, config.stall_timeout_seconds)
        self._config = config
        self._engine = Engine(only_engine(config), limits, key, state, clock)
        self._state = state
        self._clock = clock

    async def run(self, inherited: dict[str, str], stop: asyncio.Event) -> Outcome:
        """From exec to the end; `stop` is set by SIGTERM. Raises ConfigurationError."""
        self._state.enter(Phase.STARTING, self._clock())
        engine = only_engine(self._config)
        await self._engine.prepare(compiled.of(self._config.compiled, engine.device, inherited))
        try:
            process = self._start(inherited)
        except EngineFailed as error:
            return self._failed(error.failure, 1)
        watch_children(process)
        serving = asyncio.create_task(self._engine.serve(process))
        ended = asyncio.create_task(process.wait())
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        asked.cancel()
        if stop.is_set():
            return await self._drain(process)
        found = await self._engine.explain(process, await result(serving))
        code = 1 if found.returncode is None else exit_code(found.returncode)
        return self._failed(found.failure, code)

    def _start(self, inherited: dict[str, str]) -> launch.Process:
        command = self._engine.command(self._config)
        _log.info("engine: %s", " ".join(command.argv))
        try:
            return launch.start(command, inherited, self._engine.read)
        except OSError as error:
            raise unexecutable(error) from error

    async def _drain(self, process: launch.Process) -> Outcome:
        serving = self._state.phase is Phase.SERVING
        self._state.draining = True
        self._state.enter(Phase.DRAINING, self._clock())
        if serving:
            limit = self._config.drain_timeout_seconds
            cut = await drain.finish(self._engine.client, process, limit, self._report_in_flight)
            _log.log(logging.WARNING if cut else logging.INFO, "drained; %d requests are cut", cut)
        await drain.stop(process)
        return Outcome(exit_code=0)

    def _failed(self, failure: Failure, code: int) -> Outcome:
        self._state.fail(failure, self._clock())
        return Outcome(exit_code=code, failure=failure)

    def _report_in_flight(self, left: int) -> None:
        self._state.in_flight = left


def only_engine(config: ServerConfig) -> EngineConfig:
    """Several are a pool's, which has a configuration of its own. Raises ConfigurationError."""
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


async def result(task: asyncio.Task[Failure]) -> Failure | None:
    """Of a task that may have been cancelled."""
    try:
        return await task
    except asyncio.CancelledError:
        return None
