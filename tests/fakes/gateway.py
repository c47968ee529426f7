"""A gateway's `GET /demand` on a real socket, told by a test what to send and when to break."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from berth_api import names
from berth_api.demand import CONTENT_TYPE, Demand, ModelDemand

SELECTOR = f"{names.LABEL_COMPONENT}={names.COMPONENT_GATEWAY}"
_CUT = b""  # ends a connection
_processes = itertools.count(1)


@dataclass
class FakeGateway:
    """Tells its whole state to whoever connects, then each line that `say` and `send` give it."""

    name: str = "gateway-1"
    port: int = 0
    process: str = field(default_factory=lambda: f"process-{next(_processes)}")
    state: dict[tuple[str, str], ModelDemand] = field(default_factory=dict)
    silent: bool = False  # answers, and tells nothing
    status: int = 200
    calls: int = 0
    _streams: list[asyncio.Queue[bytes]] = field(default_factory=list)

    def say(self, namespace: str = "team", model: str = "smol", **numbers: Any) -> None:
        self.state[namespace, model] = ModelDemand(namespace=namespace, model=model, **numbers)
        if not self.silent:
            self.send(self.line())

    def line(self) -> bytes:
        told = Demand(gateway=self.process, synced=True, models=list(self.state.values()))
        return told.wire().encode() + b"\n"

    def send(self, data: bytes) -> None:
        for stream in self._streams:
            stream.put_nowait(data)

    def cut(self) -> None:
        """Ends every connection."""
        self.send(_CUT)

    @property
    def connected(self) -> bool:
        return bool(self._streams)

    def pod(self, *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
        labels = {names.LABEL_COMPONENT: names.COMPONENT_GATEWAY, names.LABEL_NAME: names.PART_OF}
        given = {"name": self.name, "namespace": "berth-system", "labels": labels} | metadata
        port = {"name": "management", "containerPort": self.port}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": given,
            "spec": {"containers": [{"name": "gateway", "ports": [port]}]},
            "status": {
                "podIP": "127.0.0.1",
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            },
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeGateway"]:
        application = web.Application()
        application.router.add_get(names.PATH_DEMAND, self._demand)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        beat = asyncio.create_task(self._beat())
        try:
            yield self
        finally:
            beat.cancel()
            self.cut()
            await runner.cleanup()

    async def _demand(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        if self.status != web.HTTPOk.status_code:
            return web.Response(status=self.status)
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
        await response.prepare(request)
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        if not self.silent:
            lines.put_nowait(self.line())
        self._streams.append(lines)
        try:
            while (data := await lines.get()) != _CUT:
                await response.write(data)
        finally:
            self._streams.remove(lines)
        return response

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if not self.silent:
                self.send(self.line())
