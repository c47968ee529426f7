"""uvicorn for the data path, with the deadlines and the error shape that it lacks itself.

A connection that sends its request byte by byte would otherwise be kept for ever
(https://github.com/encode/uvicorn/issues/157). And it offers the application a `Direct`, so that a
stream costs no coroutine for each piece and a client's leave no task that waits for it.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Generator
from enum import Enum
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from berth_gateway.asgi import DIRECT, Message, Source
from berth_gateway.connections import Connections
from berth_gateway.errors import Kind, Refusal
from berth_gateway.settings import Limits, Settings

# Longer than the idle time of clients' and load balancers' pools (60 s), so that they close first.
KEEP_ALIVE_SECONDS: Final = 75
# Requests that a client sends ahead of their answers. Hardly any does; each costs memory.
MAX_PIPELINED: Final = 16
# The application answers 408 at the deadline; this much later the connection is cut.
BODY_GRACE_SECONDS: Final = 5
_FIELD_BYTES: Final = 4  # of a header field besides its name and value: a colon, a space, CRLF
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
BACKLOG: Final = 2048  # connections that wait for accept(), uvicorn's default


_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


_FULL: Final = Refusal(
    Kind.GATEWAY_FULL, "this gateway has no room for another connection", retry_after_seconds=1
)


def _nothing() -> None:
    pass


def _written(refusal: Refusal) -> bytes:
    """As the last answer of a connection."""
    body = refusal.body()
    headers = [*refusal.headers(), (b"content-length", b"%d" % len(body))]
    fields = b"".join(b"%b: %b\r\n" % field for field in headers)
    return b"%b%bconnection: close\r\n\r\n%b" % (STATUS_LINE[refusal.status], fields, body)


def _reset(transport: asyncio.Transport) -> None:
    """End the connection with RST, which no client can take for the end of an answer."""
    one = transport.get_extra_info("socket")
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Cycle(RequestResponseCycle):
    """One request and its answer: uvicorn's own, and a `Direct`.

    A request's body is handed over as a whole, in one message and with one copy; one that is
    larger than `body_bytes` as soon as it is.
    """

    def __init__(
        self, protocol: HttpToolsProtocol, scope: Any, *, keep_alive: bool, body_bytes: int
    ) -> None:
        super().__init__(
            scope,
            protocol.transport,
            protocol.flow,
            protocol.logger,
            protocol.access_logger,
            protocol.access_log,
            protocol.server_state.default_headers,
            asyncio.Event(),
            protocol.expect_100_continue,
            keep_alive,
            protocol.on_response_complete,
        )
        self.task: asyncio.Task[None]
        self.on_left: Callable[[], None] | None = None
        self.source: Source | None = None
        self._body_bytes = body_bytes
        self._pieces: list[bytes] = []  # of the request's body
        self._size = 0  # bytes of them
        self._wanted = False  # the application has asked for the body
        self._handed_over = False  # all of the body
        self._head = b""  # of the answer, not yet sent
        self._until_close = False  # the answer ends with its connection: HTTP/1.0 has no chunks

    async def run(self, app: Any, tasks: set[Any]) -> None:
        """Until the application has answered, or failed to; then its task is none of `tasks`.

        A callback that took it off would be one more turn of the loop.
        """
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            self.logger.exception("a fault of the application")
        finally:
            tasks.discard(self.task)
            self.on_response = _nothing  # or it would keep the connection alive
            if not (self.response_complete or self.disconnected):
                self._cut()

    def _cut(self) -> None:
        """End an answer that is not whole, so that nobody takes it for one."""
        if self._until_close:
            _reset(self.transport)  # nothing else tells it from a body's end
        else:
            self.transport.close()

    # The way in.

    def take(self, piece: bytes) -> None:
        """Of the request's body."""
        self._pieces.append(piece)
        self._size += len(piece)
        if not self._wanted and self._size > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        if self._size > self._body_bytes:
            self.message_event.set()

    def end_body(self) -> None:
        self.more_body = False
        self.message_event.set()

    async def receive(self) -> Message:  # type: ignore[override]
        self._wanted = True
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        self.flow.resume_reading()
        while not (self.disconnected or self.response_complete or self._has_body()):
            self.message_event.clear()
            await self.message_event.wait()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.take_body(), "more_body": self.more_body}

    def take_body(self) -> bytes:
        self._wanted = True
        self.flow.resume_reading()  # or nobody would notice a client that leaves
        self._handed_over = not self.more_body
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        return body

    def _has_body(self) -> bool:
        ready = not self.more_body or self._size > self._body_bytes
        return ready and not self._handed_over

    # The way out.

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """The head waits for the first piece of the body, so that both are one write.

        Fields are not checked for being fit for a header, as uvicorn's are: they are the
        gateway's own, or httptools has read them.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self.begin(message["status"], message["headers"])
        else:
            self.say(message.get("body", b""), more=message.get("more_body", False))

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self.response_started:
            raise RuntimeError("the answer has begun already")
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *headers):
            if name == b"connection":
                self.keep_alive = False  # there is nothing else to say of it
                continue
            if name == b"content-length":
                if status in _BODILESS:
                    continue  # there is nothing that it could be the length of
                self.chunked_encoding = False
                self.expected_content_length = int(value)
            lines += (name, b": ", value, b"\r\n")
        if self.chunked_encoding is None and status not in _BODILESS:
            self.chunked_encoding = self.scope["http_version"] != "1.0"
            if self.chunked_encoding:
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self._until_close = True
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self._head = b"".join(lines)

    def say(self, body: bytes, *, more: bool) -> None:
        if not self.response_started or self.response_complete:
            raise RuntimeError("a piece of an answer that has not begun, or is complete")
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length, self.chunked_encoding = b"", 0, False
        self.write(body, last=not more)
        if more:
            return
        if self.expected_content_length:
            raise RuntimeError("an answer shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def write(self, chunk: bytes, *, last: bool = False) -> None:
        if self.disconnected:
            return
        if self.chunked_encoding:
            framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""
            data = framed + b"0\r\n\r\n" if last else framed
        else:
            if not self._until_close:
                self.expected_content_length -= len(chunk)
            data = chunk
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self.transport.write(data)

    @property
    def writable(self) -> bool:
        return not (self.flow.write_paused or self.disconnected)

    @property
    def left(self) -> bool:
        return self.disconnected

    @property
    def arrived(self) -> bool:
        return not self.more_body

    def attach(self, source: Source | None) -> None:
        self.source = source
        if source is not None and self.flow.write_paused:
            source.pause_reading()

    def leave(self) -> None:
        """The connection has ended."""
        if self.response_complete:
            return
        self.disconnected = True
        self.message_event.set()
        if self.on_left is not None:
            self.on_left()


class _PipelineError(Exception):
    """More requests ahead of their answers than a connection may have."""


class _HeaderError(Exception):
    """A header larger than the limit, though it came at once."""


class Phase(Enum):
    """What a connection waits for the client to do."""

    NOTHING = "nothing"  # an answer is being made, or uvicorn's own keep-alive timer runs
    HEADER = "header"
    BODY = "body"


class GatewayProtocol(HttpToolsProtocol):
    """Makes a `Cycle` of each request, and closes a connection whose request does not come in time.

    To be subclassed with its limits, the connections that it is one of, and how long an idle one
    outlives the door.
    """

    limits: Limits
    others: Connections
    settle_seconds: float

    _phase = Phase.NOTHING
    _deadline: asyncio.TimerHandle | None = None
    _read_bytes = 0  # of the last read
    _overhead_bytes = 0  # of a header, or since the last piece of a body, in reads of their own
    _shared_bytes = 0  # of the read in which the header may have begun, behind another message
    _in_header = True
    _idle_since = 0.0  # on the loop's clock: the end of the last answer
    _active: Cycle | None = None  # whose answer is due; `cycle` is the one that was parsed last
    _stalled: asyncio.TimerHandle | None = None  # while the client takes nothing of its answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if not self.others.opened(self):
            self.others.turn_away(transport, _written(_FULL))
            return
        super().connection_made(transport)
        self._enter(Phase.HEADER)

    def give_way(self) -> None:
        self.transport.close()

    def shutdown(self) -> None:
        """As uvicorn's, but an idle connection stays for a while; its next answer closes it.

        A request may be on its way: closed under it, it would be reset without an answer, and no
        client may send it again by itself.
        """
        if self._is_idle():
            self.loop.call_later(self.settle_seconds, self._close_if_idle)
        elif self._active is not None:
            self._active.keep_alive = False

    def _is_idle(self) -> bool:
        return self._active is None or self._active.response_complete

    def _close_if_idle(self) -> None:
        if self._is_idle():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.others.closed(self)
        self._enter(Phase.NOTHING)
        self._end_stall()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)
        if self._active is not None:
            self._active.leave()

    def data_received(self, data: bytes) -> None:
        self._read_bytes = len(data)
        self._overhead_bytes += self._read_bytes
        self._parse(data)
        if self.transport.is_closing():
            return
        if self._overhead_bytes > self.limits.header_bytes:
            self._refuse(self._too_large())
            return
        # Most requests arrive in one piece, and pay for no timer.
        phase = self._phase_now()
        if phase is not self._phase:
            self._enter(phase)

    def _too_large(self) -> Refusal:
        limit = self.limits.header_bytes
        if self._in_header:
            message = f"the header is larger than {limit} bytes; send fewer or shorter fields"
            return Refusal(Kind.HEADER_TOO_LARGE, message)
        message = f"a trailer or a chunk's extension is larger than {limit} bytes"
        return Refusal(Kind.BAD_REQUEST, message)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _HeaderError):
                self._refuse(self._too_large())
            else:
                self.send_400_response("Invalid HTTP request received.")

    def _decline(self, rest: bytes) -> None:
        """Read a request that offers another protocol as one that does not (RFC 9110, 7.8).

        Java's and other clients offer HTTP/2 with whatever they send. The parser takes what
        follows for the other protocol's, so another one reads it, after the header without the
        offer.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("This is no proxy.")
            return
        version = self.parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b" % (method, self.url, version)]
        head += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join((*head, b"", rest)))

    def _phase_now(self) -> Phase:
        if not self._in_header:
            return Phase.BODY
        return Phase.HEADER if self._overhead_bytes and self._is_idle() else Phase.NOTHING

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.limits.stall_seconds, self._expire)
        if self._active is not None and self._active.source is not None:
            self._active.source.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_stall()
        if self._active is not None and self._active.source is not None:
            self._active.source.resume_reading()

    def _end_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # Between requests.

    def on_response_complete(self) -> None:
        """As uvicorn's, but with one timer for a connection instead of one for each request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        self.others.rests(self)
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_handler()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for so long; else look again when it may be."""
        since = self._idle_since if self._is_idle() else self.loop.time()
        left = since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Bytes that come do not end the timer; the end of the connection does."""

    # httptools' callbacks.

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers, which come after the header's end, are dropped: they are no header fields."""
        if not self._in_header:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """As uvicorn's, without what the data path has no use for: WebSockets, a root path."""
        if self.parser.should_upgrade():
            return  # to be read again, see `_decline`
        if self._overhead_bytes + self._shared_bytes > self.limits.header_bytes:
            self._check_header()  # not all of that may have been the header
        self._in_header = False
        version = self.parser.get_http_version()
        cycle = self.cycle = Cycle(
            self,
            self._scope(version),
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            body_bytes=self.limits.body_bytes,
        )
        cycle.scope["extensions"] = {DIRECT: cycle}  # type: ignore[dict-item]
        if self._active is None or self._active.response_complete:
            self._start_asgi_task(cycle, self.app)
        elif len(self.pipeline) < MAX_PIPELINED:
            self.pipeline.appendleft((cycle, self.app))
        else:
            raise _PipelineError  # the parser stops, and with it the connection

    def _check_header(self) -> None:
        fields = sum(len(name) + len(value) + _FIELD_BYTES for name, value in self.headers)
        if len(self.url) + fields > self.limits.header_bytes:
            raise _HeaderError

    def _scope(self, version: str) -> Any:
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": {},
        }

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._active = cycle
        self.others.works(self)
        cycle.task = self.loop.create_task(cycle.run(app, self.tasks))
        self.tasks.add(cycle.task)

    def on_body(self, body: bytes) -> None:
        self._overhead_bytes = 0
        if not self.cycle.response_complete:
            self.cycle.take(body)  # type: ignore[attr-defined]

    def on_message_complete(self) -> None:
        if self._in_header:  # of a request that is to be read again
            return
        self._in_header = True
        self._overhead_bytes = 0
        self._shared_bytes = self._read_bytes
        if not self.cycle.response_complete:
            self.cycle.end_body()  # type: ignore[attr-defined]

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP request; like uvicorn's own, but in OpenAI's shape."""
        self._refuse(Refusal(Kind.BAD_REQUEST, msg))

    def _refuse(self, refusal: Refusal) -> None:
        """Whatever else the connection brings.

        In front of or within the answer to another request it would be taken for that one's.
        """
        if self._answering_another():
            self.transport.abort()
            return
        self.transport.write(_written(refusal))
        self.transport.close()

    def _answering_another(self) -> bool:
        active = self._active
        if active is None or active.response_complete:
            return False
        return active.response_started or active is not self.cycle or not active.more_body

    def _enter(self, phase: Phase) -> None:
        """Give a phase that has begun its time; the one before has ended."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._phase = phase
        if phase is Phase.HEADER:
            self._deadline = self.loop.call_later(self.limits.header_seconds, self._expire)
        elif phase is Phase.BODY:
            seconds = self.limits.body_seconds + BODY_GRACE_SECONDS
            self._deadline = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self.transport.abort()


class Server(uvicorn.Server):
    """Leaves signals to whoever starts it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def data_server(app: Any, settings: Settings) -> Server:
    connections = Connections(settings.connections, settings.idle_connections)
    known = {
        "limits": settings.limits,
        "others": connections,
        "settle_seconds": settings.settle_seconds,
    }
    protocol: Any = type("GatewayProtocol", (GatewayProtocol,), known)
    return Server(
        uvicorn.Config(
            app,
            loop="none",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=settings.drain_seconds,
        )
    )
