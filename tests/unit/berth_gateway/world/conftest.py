"""An API server in memory: collections with resource versions, watches, and faults on demand."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web

Json = dict[str, Any]


class ApiServer:
    """Serves list and watch of whatever has been put into it."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {}  # by path, then namespace/name
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.watches: dict[str, list[asyncio.Queue[bytes | Json | None]]] = {}
        self.events: dict[str, list[Json]] = {}  # by path; a watch starts in the past
        self.authorizations: set[str] = set()
        self.version = 0
        self.status = 200  # anything else is what every request gets
        self.refused: set[str] = set()  # paths that get 403
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.end_watches()
        assert self._runner is not None
        await self._runner.cleanup()

    def put(self, path: str, item: Json) -> None:
        self.version += 1
        metadata = item["metadata"]
        metadata["resourceVersion"] = str(self.version)
        known = self.objects.setdefault(path, {})
        key = f"{metadata.get('namespace', '')}/{metadata['name']}"
        kind = "MODIFIED" if key in known else "ADDED"
        known[key] = item
        self.send(path, {"type": kind, "object": item})

    def delete(self, path: str, key: str) -> None:
        self.version += 1
        item = self.objects[path].pop(key)
        item["metadata"]["resourceVersion"] = str(self.version)
        self.send(path, {"type": "DELETED", "object": item})

    def send(self, path: str, event: Json | bytes) -> None:
        if not isinstance(event, bytes):
            self.events.setdefault(path, []).append(event)
        for queue in self.watches.get(path, ()):
            queue.put_nowait(event)

    def end_watches(self) -> None:
        for queues in self.watches.values():
            for queue in queues:
                queue.put_nowait(None)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.requests.append((request.path, query))
        self.authorizations.add(request.headers.get("authorization", ""))
        if self.status != 200:
            return web.json_response({"message": "as told"}, status=self.status)
        if request.path in self.refused:
            return web.json_response({"message": "as told"}, status=403)
        if "watch" in query:
            return await self._watch(request)
        items = [
            item for item in self.objects.get(request.path, {}).values() if _selected(item, query)
        ]
        start = int(query.get("continue", 0))
        page, rest = items[start : start + 2], items[start + 2 :]
        metadata = {"resourceVersion": str(self.version)}
        if rest:
            metadata["continue"] = str(start + 2)
        return web.json_response({"items": page or None, "metadata": metadata})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[bytes | Json | None] = asyncio.Queue()
        since = int(request.query.get("resourceVersion", 0))
        for event in self.events.get(request.path, ()):
            if int(event["object"]["metadata"]["resourceVersion"]) > since:
                queue.put_nowait(event)
        queues = self.watches.setdefault(request.path, [])
        queues.append(queue)
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, bytes):
                    await response.write(event)
                elif _selected(event["object"], request.query):
                    await response.write(json.dumps(event).encode() + b"\n")
        finally:
            queues.remove(queue)
        return response


def _selected(item: Json, query: Mapping[str, str]) -> bool:
    return query.get("fieldSelector") in {None, f"metadata.name={item['metadata']['name']}"}


@pytest.fixture
async def api_server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()
