"""The pooled HTTP client towards engines, and how its errors are called here.

No total timeout: an answer may take an hour. A dead peer is noticed by TCP keep-alive instead.
"""

import asyncio
import socket
from typing import Final

import aiohttp

CONNECT_SECONDS: Final = 2.0  # a handshake inside a cluster takes milliseconds
# vLLM's uvicorn closes idle connections after 5 s; reusing one at that moment would be a reset.
POOL_IDLE_SECONDS: Final = 4.0
# A node that died sends no FIN: unanswered probes end its connections after 15 + 3 * 5 seconds.
KEEPALIVE_IDLE_SECONDS: Final = 15
KEEPALIVE_PROBE_SECONDS: Final = 5
KEEPALIVE_PROBES: Final = 3

CONNECT_ERRORS: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
LOST_ERRORS: Final = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


def session() -> aiohttp.ClientSession:
    """For the lifetime of the process; bodies pass as they are, compressed or not."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,  # the engines bound their own queues
            keepalive_timeout=POOL_IDLE_SECONDS,
            socket_factory=_socket,
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,  # no proxy between the gateway and an engine
    )


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    keep_alive(made)
    return made


def keep_alive(one: socket.socket) -> None:
    """Let TCP notice a peer whose host is gone."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_PROBE_SECONDS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
