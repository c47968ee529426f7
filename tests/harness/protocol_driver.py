"""The gateway's own protocol without a socket or a clock: bytes in, bytes out, time on demand."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from berth_gateway import server
from berth_gateway.app import App
from berth_gateway.client import Exchange
from berth_gateway.proxy import Call
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Model, build
from berth_gateway.settings import AuthMode, Limits, Settings
from berth_gateway.state.board import Board
from berth_gateway.state.load import Load
from berth_gateway.state.meters import Meters
from berth_gateway.state.queues import Queues
from berth_gateway.telemetry import Telemetry

LIMITS = Limits(header_seconds=10, body_seconds=10, body_bytes=4096)
# Later than any deadline of a connection: the longest is the idle time between requests.
AT_LAST_SECONDS = 2 * (server.KEEP_ALIVE_SECONDS + LIMITS.header_seconds + LIMITS.body_seconds)
_STEP_SECONDS = 5.0
_TURNS = 8  # of the loop, until what one event causes has happened


class _Answering:
    """In the proxy's place: an engine that answers at once."""

    async def forward(self, call: Call, exchange: Exchange) -> int:
        body = b'{"model":"%b"}' % call.model.name.encode()
        length = (b"content-length", b"%d" % len(body))
        await exchange.begin(200, [(b"content-type", b"application/json"), length])
        await exchange.say(body, more=False)
        return 200


class Loop(asyncio.SelectorEventLoop):
    """Its time stands still unless it is moved; what goes wrong in a callback is kept."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()
        self.faults: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        return self.now

    def turn(self, times: int = _TURNS) -> None:
        for _ in range(times):
            self.run_until_complete(asyncio.sleep(0))


class Transport(asyncio.Transport):
    """Collects what is written; ends as a socket's does, one turn after it was closed."""

    def __init__(self, loop: Loop, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.loop, self.protocol = loop, protocol
        self.written = bytearray()
        self.closing = False

    def write(self, data: Any) -> None:
        if not self.closing:
            self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


class Connection:
    """One client's connection to a gateway with one model, llama."""

    def __init__(self, loop: Loop) -> None:
        settings = Settings(
            routes=None, keys=None, namespace="berth", auth=AuthMode.NONE, limits=LIMITS
        )
        queues = Queues(Load(), Backlog(settings.held_requests, settings.held_bytes))
        board = Board(queues, Meters(settings.gateways))
        board.publish(build([Model(key="u", name="llama")]))
        telemetry = Telemetry({})
        proxy: Any = _Answering()
        app = App(settings, board, Meters(settings.gateways), proxy, telemetry)
        made = server.data_server(app, settings)
        made.config.load()
        self.loop = loop
        self.state = made.server_state
        self.protocol = made.config.http_protocol_class(made.config, made.server_state, {}, loop)
        self.transport = Transport(loop, self.protocol)
        self.protocol.connection_made(self.transport)

    def send(self, pieces: Sequence[bytes], *, turns: int) -> bytes:
        """The answer to `pieces`, with as many turns of the loop between them."""
        for piece in pieces:
            if not self.transport.closing:
                self.protocol.data_received(piece)
            self.loop.turn(turns)
        self.loop.turn()
        return bytes(self.transport.written)

    def wait(self) -> None:
        """Until every deadline has passed."""
        until = self.loop.now + AT_LAST_SECONDS
        while self.loop.now < until and not self.transport.closing:
            self.loop.now += _STEP_SECONDS
            self.loop.turn()
        self.loop.turn()


logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
