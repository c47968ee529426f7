"""The two applications: an engine reached through aiohttp, and through a connection of our own."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from bench.gateway.designs.policy import FORWARDED, HOP_BY_HOP, Policy
from berth_gateway.asgi import DIRECT, Direct, Receive, Scope, Send
from berth_gateway.upstream.connection import Connection
from berth_gateway.upstream.pool import Pool


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _start(send: Send, status: int, headers: Any) -> None:
    kept = [(name, value) for name, value in headers if name not in HOP_BY_HOP]
    await send({"type": "http.response.start", "status": status, "headers": kept})


async def _piece(send: Send, chunk: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": more})


class Application:
    """The same for both; `forward` is what differs."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if not self._policy.admits(headers):
            await _start(send, 401, [])
            await _piece(send, b"", more=False)
            return
        body = await _body(receive)
        endpoint = self._policy.take(body)
        try:
            await self.forward(endpoint, scope, headers, body, send)
        finally:
            self._policy.done(endpoint)

    async def forward(
        self, endpoint: str, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, send: Send
    ) -> None:
        raise NotImplementedError


class ThroughAiohttp(Application):
    _session: aiohttp.ClientSession | None = None

    async def forward(
        self, endpoint: str, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, send: Send
    ) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        sent = {name.decode(): headers[name].decode() for name in FORWARDED if name in headers}
        url = f"http://{endpoint}{scope['path']}"
        async with self._session.post(url, data=body, headers=sent) as response:
            raw = [(name.lower(), value) for name, value in response.raw_headers]
            await _start(send, response.status, raw)
            while chunk := await response.content.readany():
                await _piece(send, chunk, more=True)
            await _piece(send, b"", more=False)


class ThroughOwnConnection(Application):
    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self._pool = Pool()

    async def forward(
        self, endpoint: str, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, send: Send
    ) -> None:
        url = f"http://{endpoint}"
        fields = b"".join(
            b"%b: %b\r\n" % (name, headers[name]) for name in FORWARDED if name in headers
        )
        connection = self._pool.take(url) or await self._pool.connect(url)
        try:
            connection.ask(scope["path"].encode(), fields, body)
            first = await connection.piece()
            await _start(send, connection.status, connection.headers)
            whole = connection.whole
            await _piece(send, first, more=not whole)
            if not whole:
                await _relay(connection, (scope.get("extensions") or {}).pop(DIRECT, None), send)
                await _piece(send, b"", more=False)
        finally:
            self._pool.give_back(url, connection)


async def _relay(connection: Connection, direct: Direct | None, send: Send) -> None:
    """Without a task's turn for each piece, where the server offers it."""
    if direct is None:
        while chunk := await connection.piece():
            await _piece(send, chunk, more=True)
        return
    direct.attach(connection)
    try:
        await connection.pour(direct.write)
    finally:
        direct.attach(None)
