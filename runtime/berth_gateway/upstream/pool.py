"""Connections to all endpoints, kept for the next request while they are fresh."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from berth_gateway.errors import EndpointFailedError, Failure
from berth_gateway.upstream.connection import Connection
from berth_gateway.upstream.sockets import keep_alive

CONNECT_SECONDS: Final = 2.0  # a handshake inside a cluster takes milliseconds
# vLLM's uvicorn closes idle connections after 5 s; reusing one at that moment would be a reset.
POOL_IDLE_SECONDS: Final = 4.0
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(slots=True)
class _Origin:
    host: str
    port: int
    host_header: bytes
    tls: ssl.SSLContext | None
    idle: list[Connection] = field(default_factory=list)  # the longest unused first


class Pool:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._origins: dict[str, _Origin] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def take(self, url: str) -> Connection | None:
        """The connection to `url` that was used last; None if there is none that is fresh.

        The last one is the warmest, and the others get the time to grow old.
        """
        origin = self._origins.get(url)
        if origin is None or not origin.idle:
            return None
        connection = origin.idle.pop()
        connection.on_end = None
        if not self._stale(connection):
            return connection
        connection.lose("idle for too long")
        self.forget(url)  # the others are older still
        return None

    async def connect(self, url: str) -> Connection:
        """A new connection. EndpointFailedError (CONNECT) if there is none in time."""
        origin = self._origin(url)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                transport, connection = await loop.create_connection(
                    partial(Connection, origin.host_header, loop, self._clock),
                    origin.host,
                    origin.port,
                    ssl=origin.tls,
                )
        except (OSError, ssl.CertificateError) as error:  # TimeoutError is an OSError
            reason = str(error) or f"no connection within {CONNECT_SECONDS} s"
            raise EndpointFailedError(Failure.CONNECT, reason) from error
        keep_alive(transport.get_extra_info("socket"))
        return connection

    def give_back(self, url: str, connection: Connection) -> None:
        """After an answer has been dealt with, or given up: keeps the connection if it can."""
        if not connection.finish():
            return
        idle = self._origin(url).idle
        idle.append(connection)
        connection.on_end = partial(_discard, idle, connection)
        if self._sweeper is None:
            self._sweep_later()

    def forget(self, url: str) -> None:
        """End the idle connections to `url`: one of them has just turned out to be dead."""
        origin = self._origins.get(url)
        if origin is not None:
            _end(origin.idle, origin.idle)

    def close(self) -> None:
        """End all idle connections; those in use end with their request."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for url in self._origins:
            self.forget(url)

    def _origin(self, url: str) -> _Origin:
        origin = self._origins.get(url)
        if origin is None:
            origin = self._origins[url] = _parsed(url)
        return origin

    def _stale(self, connection: Connection) -> bool:
        since = connection.idle_since
        return since is None or self._clock() - since > POOL_IDLE_SECONDS

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(POOL_IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Rare, for all at once: a timer for each connection would cost each request one."""
        self._sweeper = None
        for url, origin in list(self._origins.items()):
            _end(origin.idle, [one for one in origin.idle if self._stale(one)])
            if not origin.idle:
                del self._origins[url]
        if self._origins:
            self._sweep_later()


def _end(idle: list[Connection], connections: Iterable[Connection]) -> None:
    for connection in tuple(connections):
        idle.remove(connection)
        connection.on_end = None
        connection.lose("idle for too long")


def _discard(idle: list[Connection], connection: Connection) -> None:
    """The engine has closed an idle connection."""
    if connection in idle:
        idle.remove(connection)


def _parsed(url: str) -> _Origin:
    parts = urlsplit(url)
    tls: Any = ssl.create_default_context() if parts.scheme == "https" else None
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    return _Origin(host, port, parts.netloc.encode(), tls)
