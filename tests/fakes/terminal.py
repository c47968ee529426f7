"""A cluster as a user's terminal meets it, in a dict, and a gateway on a real socket behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from fakes.cluster import FakeCluster

from berth_cli.access import Session
from berth_operator.cluster import kinds

PORT_BYTES = (80).to_bytes(2, "little")


@dataclass
class TerminalCluster(FakeCluster):
    """`gateway` is where a port-forward ends."""

    logged: dict[str, list[bytes]] = field(default_factory=dict)  # by pod
    log_asked: list[tuple[str, bool, bool]] = field(default_factory=list)  # pod, follow, previous
    gateway: "OpenAI | None" = None
    forwarded: list[tuple[str, str, int]] = field(default_factory=list)

    async def submit(self, obj: dict[str, Any]) -> dict[str, Any]:
        return self._apply(obj, "berth-cli", "submit")

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        await self.patch(kinds.MODEL, namespace, name, {"spec": {"replicas": replicas}})

    async def set_keep_alive(self, namespace: str, name: str, keep_alive: str) -> None:
        await self.patch(kinds.MODEL, namespace, name, {"spec": {"keepAlive": keep_alive}})

    async def annotate(self, namespace: str, name: str, annotation: str, value: str) -> None:
        change = {"metadata": {"annotations": {annotation: value}}}
        await self.patch(kinds.MODEL, namespace, name, change)

    @asynccontextmanager
    async def log(
        self, namespace: str, pod: str, *, follow: bool, previous: bool
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        assert namespace == "team-a"
        self.log_asked.append((pod, follow, previous))
        yield _each(self.logged[pod])

    async def forward(self, namespace: str, pod: str, port: int) -> aiohttp.ClientWebSocketResponse:
        assert self.gateway is not None
        self.forwarded.append((namespace, pod, port))
        return await self.gateway.client.ws_connect(f"{self.gateway.url}/portforward")

    @asynccontextmanager
    async def session(self, site: Any, environ: Any) -> AsyncIterator[Session]:
        """In the place of `access.session`."""
        yield Session(self, site.namespace or "team-a", site.release)


async def _each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def chunk(text: str, **others: Any) -> str:
    delta = {"content": text} | others
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n"


USAGE = 'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}\n\n'
DONE = "data: [DONE]\n\n"
PARIS = [chunk("The capital "), chunk("is Paris."), USAGE, DONE]


@dataclass
class OpenAI:
    """Answers chats with `lines`; a port-forward to it is its own port, in Kubernetes' frames."""

    lines: list[str] = field(default_factory=lambda: list(PARIS))
    status: int = 200
    fault: str = ""  # of the port-forward
    stalls: bool = False  # after its lines
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    left: int = 0  # clients that went before the end
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # once one has
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["OpenAI"]:
        application = web.Application()
        application.router.add_post("/{path:.*}", self._answer)
        application.router.add_get("/portforward", self._forward)
        runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as self.client:
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        self.paths.append(request.path)
        if self.status != 200:
            return web.Response(status=self.status, text="".join(self.lines))
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for line in self.lines:
                await response.write(line.encode())
            if self.stalls:
                await asyncio.sleep(60)
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            self.gone.set()
            raise
        return response

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        frames = web.WebSocketResponse()
        await frames.prepare(request)
        await frames.send_bytes(b"\x00" + PORT_BYTES)
        await frames.send_bytes(b"\x01" + PORT_BYTES + self.fault.encode())
        if self.fault:
            return frames
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        back = asyncio.create_task(_back(reader, frames))
        async for frame in frames:
            writer.write(frame.data[1:])
        writer.close()
        back.cancel()
        return frames


async def _back(reader: asyncio.StreamReader, frames: web.WebSocketResponse) -> None:
    while piece := await reader.read(7):  # in small pieces, as networks have it
        await frames.send_bytes(b"\x00" + piece)
    await frames.close()
