"""What a pod says of itself, and the pages that say it.

Served from second 0, by the wrapper and by the fetcher alike. Decides nothing.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import uvicorn
from fastapi import FastAPI, Response

from berth_api import names
from berth_api.server import EngineStatus, Measured, Phase, PhaseMark, PodStatus
from berth_api.shape import Failure
from berth_server import phases
from berth_server.errors import ConfigurationError

# Probes and the operator are the only clients.
_BACKLOG: Final = 64
# A probe that comes too early is kept for so long, less than its time-out of 2 s: whoever waits for
# the pod then hears of it at once, and not at the next probe.
PROBE_PATIENCE_SECONDS: Final = 1.5
_PROBE_LOOK_SECONDS: Final = 0.02


class Requests(NamedTuple):
    """Inside one engine. None is not known, which is not zero."""

    running: int | None = None
    waiting: int | None = None


@dataclass
class State:
    """The one mutable value of a pod; only the event loop touches it. Seconds are monotonic."""

    started_seconds: float
    engine_names: tuple[str, ...] = ()
    expected_start_seconds: int | None = None
    phase: Phase = Phase.PENDING
    percent: int | None = None
    eta_seconds: int | None = None
    message: str = ""
    in_flight: int = 0
    draining: bool = False
    failure: Failure | None = None
    measured: dict[str, Measured] = field(default_factory=dict)
    requests: dict[str, Requests] = field(default_factory=dict)  # by engine, as last scraped
    timeline: list[PhaseMark] = field(default_factory=list)

    def enter(self, phase: Phase, now_seconds: float, message: str = "") -> None:
        self.message = message
        if phase is self.phase:
            return
        self.phase, self.percent = phase, None
        since = round(now_seconds - self.started_seconds, 3)
        self.timeline.append(PhaseMark(phase=phase, at_seconds=since))

    def read(self, engine: str, line: str, now_seconds: float) -> None:
        """Takes in one line of an engine's log."""
        reading = phases.read(line)
        later = phases.advanced(self.phase, reading.phase)
        if later is not self.phase:
            self.enter(later, now_seconds)
        if reading.percent is not None and reading.phase is self.phase:
            self.percent = reading.percent
        self.measure(engine, reading.measured)

    def measure(self, engine: str, found: Measured) -> None:
        self.measured[engine] = phases.merged(self.measured.get(engine, Measured()), found)

    def fail(self, failure: Failure, now_seconds: float) -> None:
        self.enter(Phase.FAILED, now_seconds, failure.message)
        self.failure = failure

    def snapshot(self, now_seconds: float) -> PodStatus:
        elapsed = now_seconds - self.started_seconds
        eta = phases.eta_seconds(self.phase, elapsed, self.expected_start_seconds)
        return PodStatus(
            phase=self.phase,
            percent=self.percent,
            eta_seconds=self.eta_seconds if self.phase is Phase.FETCHING else eta,
            message=self.message,
            timeline=list(self.timeline),
            in_flight=self.in_flight,
            draining=self.draining,
            engines=[self._engine(name) for name in self.engine_names],
            failure=self.failure,
        )

    def _engine(self, name: str) -> EngineStatus:
        requests = self.requests.get(name, Requests())
        return EngineStatus(
            name=name,
            phase=self.phase,
            measured=self.measured.get(name, Measured()),
            running=requests.running,
            waiting=requests.waiting,
            failure=self.failure,
        )

    @property
    def ready(self) -> bool:
        return self.phase is Phase.SERVING and not self.draining

    @property
    def may_become_ready(self) -> bool:
        return not (self.ready or self.draining or self.phase in {Phase.DRAINING, Phase.FAILED})


class Told(Protocol):
    """What the pages ask: a dedicated pod's State, or a pool."""

    @property
    def phase(self) -> Phase: ...
    @property
    def ready(self) -> bool: ...
    @property
    def may_become_ready(self) -> bool: ...
    def snapshot(self, now_seconds: float, /) -> PodStatus: ...


def pages(
    state: Told,
    clock: Callable[[], float],
    *,
    patience_seconds: float = PROBE_PATIENCE_SECONDS,
) -> FastAPI:
    """GET /status, /readyz and /livez over `state`; `clock()` is monotonic seconds.

    Liveness is this page itself: a dead engine ends the pod, a hung one is found by `stall`.
    """
    app = FastAPI(title="berth-server", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get(names.PATH_STATUS)
    async def status() -> Response:
        return Response(state.snapshot(clock()).wire(), media_type="application/json")

    @app.get(names.PATH_READY)
    async def ready() -> Response:
        time = asyncio.get_running_loop().time
        until = time() + patience_seconds
        while state.may_become_ready and time() < until:  # noqa: ASYNC110 -- one look in 20 ms
            await asyncio.sleep(_PROBE_LOOK_SECONDS)
        return Response(state.phase.value, status_code=200 if state.ready else 503)

    @app.get(names.PATH_LIVE)
    async def live() -> Response:
        return Response("ok")

    return app


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the pod's own decide when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def served(app: FastAPI, port: int) -> AsyncGenerator[None, None]:
    """Serves `app` on every address for as long as the block runs."""
    listener = _listener(port)
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving


def _listener(port: int) -> socket.socket:
    """Both families where the pod has both. Raises ConfigurationError if the port is taken."""
    try:
        return socket.create_server(
            ("", port), family=_family(), backlog=_BACKLOG, dualstack_ipv6=_family() is _IPV6
        )
    except OSError as error:
        raise ConfigurationError(f"the status port {port}: {error}") from error


_IPV6: Final = socket.AF_INET6


def _family() -> socket.AddressFamily:
    return _IPV6 if socket.has_dualstack_ipv6() else socket.AF_INET
