"""uvicorn for the data path, with the deadlines and the error shape that it lacks itself.

A connection that sends its request byte by byte would otherwise be kept for ever
(https://github.com/encode/uvicorn/issues/157).
"""

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from berth_gateway.errors import Kind, Refusal
from berth_gateway.settings import Limits, Settings

# Longer than the idle time of clients' and load balancers' pools (60 s), so that they close first.
KEEP_ALIVE_SECONDS: Final = 75
MAX_HEADER_BYTES: Final = 64 * 2**10  # what other proxies allow at most
# The application answers 408 at the deadline; this much later the connection is cut.
BODY_GRACE_SECONDS: Final = 5
BACKLOG: Final = 2048  # connections that wait for accept(), uvicorn's default


class DeadlineProtocol(HttpToolsProtocol):
    """Closes a connection whose request does not arrive in time; subclassed with its limits."""

    limits: Limits

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_header = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm(self.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Between requests uvicorn's own keep-alive timer ends with the first byte.
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._arm(self.limits.header_seconds)
        if self._in_header:
            self._header_bytes += len(data)
        super().data_received(data)
        too_long = self._in_header and self._header_bytes > MAX_HEADER_BYTES
        if too_long and not self.transport.is_closing():
            self.send_400_response(f"The header is larger than {MAX_HEADER_BYTES} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers, which come after the header's end, are dropped: they are no header fields."""
        if self._in_header:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_header = False
        self._arm(self.limits.body_seconds + BODY_GRACE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_header = True
        self._header_bytes = 0
        self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP request; like uvicorn's own, but in OpenAI's shape."""
        refusal = Refusal(Kind.BAD_REQUEST, msg)
        body = refusal.body()
        headers = [*refusal.headers(), (b"content-length", str(len(body)).encode())]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers)]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.transport.close()

    def _arm(self, seconds: int) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self.transport.abort()


class Server(uvicorn.Server):
    """Leaves signals to whoever starts it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def data_server(app: Any, settings: Settings) -> Server:
    limits = {"limits": settings.limits}
    protocol: Any = type("GatewayProtocol", (DeadlineProtocol,), limits)
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
