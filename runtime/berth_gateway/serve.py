"""The process: its parts put together, supervised, and taken down in order.

Every part runs in one task group, so the end of any of them ends the process.
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from berth_gateway import connections, management, server
from berth_gateway.app import App
from berth_gateway.errors import ConfigurationError, GatewayError
from berth_gateway.management import BEAT_SECONDS, Pulse
from berth_gateway.page import routes as page
from berth_gateway.page.bridge import Bridge
from berth_gateway.page.routes import Page
from berth_gateway.page.view import Gateway
from berth_gateway.proxy import Proxy
from berth_gateway.routing.admission import Backlog
from berth_gateway.settings import AuthMode, Settings
from berth_gateway.state.board import Board
from berth_gateway.state.load import Load
from berth_gateway.state.meters import Meters
from berth_gateway.state.past import LOOK_SECONDS, Past
from berth_gateway.state.queue_counts import QueueCounts
from berth_gateway.state.queue_gauges import QueueGauges
from berth_gateway.state.queues import Queues
from berth_gateway.telemetry import Telemetry
from berth_gateway.upstream.pool import Pool
from berth_gateway.upstream.sockets import keep_alive
from berth_gateway.waiting import Waiting
from berth_gateway.world import static

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sockets:
    data: socket.socket
    management: socket.socket


async def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT has come and the streams have ended.

    ConfigurationError if it cannot start; an exception group if a part of it dies.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, listen(settings), stop)


def listen(settings: Settings) -> Sockets:
    """Both ports at once, so that a taken one is a plain message and not a dead thread."""
    return Sockets(
        data=_bind("--port", settings.port),
        management=_bind("--management-port", settings.management_port),
    )


def _bind(flag: str, port: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        made = socket.create_server(
            ("", port), family=family, backlog=server.BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigurationError(f"{flag} {port} {reason}; give another {flag}") from error
    keep_alive(made)  # inherited by what it accepts: a client's host may die, too
    return made


async def serve(settings: Settings, sockets: Sockets, stop: asyncio.Event) -> None:
    load = Load()
    queues = Queues(load, Backlog(settings.held_requests, settings.held_bytes))
    meters = Meters(settings.gateways)
    board = Board(queues, meters)
    telemetry = Telemetry(load.in_flight)
    telemetry.registry.register(QueueGauges(queues))
    telemetry.registry.register(QueueCounts(queues))
    pulse = Pulse()
    pool = Pool()
    async with _world(settings, board) as world:
        proxy = Proxy(pool, queues, Waiting(queues), telemetry, idle_seconds=settings.idle_seconds)
        app = App(settings, board, meters, proxy, telemetry)
        data = server.data_server(app, _fitting(settings))
        past, bridge = Past(queues), Bridge(app, asyncio.get_running_loop())
        managing = management.application(board, queues, telemetry, pulse)
        page.attach(managing, _page(settings, board, past, bridge))
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(world),
                tasks.create_task(_beat(pulse)),
                tasks.create_task(_remember(past)),
                tasks.create_task(_manage(managing, sockets, pulse)),
            ]
            serving = tasks.create_task(_serve_data(data, sockets))
            _log_start(settings, sockets)
            await stop.wait()
            pulse.leaving = app.leaving = True
            _log.info("leaving: the door closes in %d s", settings.settle_seconds)
            await asyncio.sleep(settings.settle_seconds)
            queues.close()
            data.should_exit = True
            await asyncio.gather(serving, bridge.drained(settings.drain_seconds))
            pool.close()
            for task in background:
                task.cancel()
    _log.info("left")


def _fitting(settings: Settings) -> Settings:
    """As many connections as there are file descriptors for: without one accept() fails."""
    room = connections.room(settings.connections)
    if room < settings.connections:
        words = "room for %d connections and not for %d: raise the limit of open files"
        _log.warning(words, room, settings.connections)
    return replace(settings, connections=room)


@contextlib.asynccontextmanager
async def _world(settings: Settings, board: Board) -> AsyncIterator[Coroutine[Any, Any, None]]:
    """What keeps the board up to date for as long as the context lasts."""
    if settings.routes is None:
        async with _cluster(settings, board) as world:
            yield world
        return
    board.publish(static.read_routes(settings.routes))
    if settings.keys is not None:
        board.admit_keys(static.read_keys(settings.keys))
    board.synced = True
    yield _forever()


@contextlib.asynccontextmanager
async def _cluster(settings: Settings, board: Board) -> AsyncIterator[Coroutine[Any, Any, None]]:
    from berth_gateway.world import access, kube  # noqa: PLC0415 -- aiohttp's 10 MB
    from berth_gateway.world.cluster import ClusterWorld  # noqa: PLC0415

    if settings.kubeconfig is None:
        way = access.of_service_account(settings.api_server)
    else:
        way = await access.of_kubeconfig(settings.kubeconfig)
    async with kube.connect(way) as api:
        yield ClusterWorld(api, settings, board).run()


def _page(settings: Settings, board: Board, past: Past, bridge: Bridge) -> Page:
    gateway = Gateway(socket.gethostname(), settings.gateways)
    return Page(board, past, bridge, gateway, open=settings.auth is AuthMode.NONE)


async def _forever() -> None:
    await asyncio.Event().wait()


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(BEAT_SECONDS)


async def _remember(past: Past) -> None:
    """In a thread: with thousands of models a look takes longer than a request."""
    while True:
        await asyncio.to_thread(past.look)
        await asyncio.sleep(LOOK_SECONDS)


async def _serve_data(data: server.Server, sockets: Sockets) -> None:
    await data.serve(sockets=[sockets.data])
    if not data.should_exit:
        raise GatewayError("the data server ended by itself")


async def _manage(app: Any, sockets: Sockets, pulse: Pulse) -> None:
    """Ends its thread when it is cancelled: the process waits for it."""
    managing = management.server(app)
    try:
        await asyncio.to_thread(managing.run, [sockets.management])
    finally:
        pulse.over = True
        managing.should_exit = True
    raise GatewayError("the management server ended by itself")


def _log_start(settings: Settings, sockets: Sockets) -> None:
    source = f"routes of {settings.routes}" if settings.routes else "ModelDeployments"
    port, management_port = (one.getsockname()[1] for one in (sockets.data, sockets.management))
    _log.info("serving %s on port %d, management on %d", source, port, management_port)
    if settings.auth is AuthMode.NONE:
        _log.warning("AUTHENTICATION IS OFF (auth mode None): anyone who reaches this port is in")
