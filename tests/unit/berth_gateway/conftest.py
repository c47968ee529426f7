"""A gateway in the test's own loop, in front of engines that do as they are told."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import hypothesis
import pytest
import uvloop

from berth_gateway import server
from berth_gateway.app import App
from berth_gateway.proxy import Proxy
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.settings import AuthMode, Limits, Settings
from berth_gateway.state.board import Board
from berth_gateway.state.load import Load
from berth_gateway.state.meters import Meters
from berth_gateway.state.queue_counts import QueueCounts
from berth_gateway.state.queue_gauges import QueueGauges
from berth_gateway.state.queues import Queues
from berth_gateway.telemetry import Telemetry
from berth_gateway.upstream.pool import Pool
from berth_gateway.waiting import Waiting
from berth_gateway.world.keys import plain


def pytest_asyncio_loop_factories() -> dict[str, Any]:
    """The loop that the gateway runs on: transports of others differ from its own in small ways."""
    return {"uvloop": uvloop.new_event_loop}


API_KEY = "sk-berth-test"
COMMENT_SECONDS = 0.1  # instead of 15

# The whole unit suite is to take seconds; a longer search is `--hypothesis-profile default`.
hypothesis.settings.register_profile("quick", max_examples=25, deadline=None)
hypothesis.settings.load_profile("quick")


@dataclass
class Received:
    """One request as an engine saw it."""

    line: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter = field(repr=False)
    reader: asyncio.StreamReader = field(repr=False)

    async def reply(
        self, status: int = 200, document: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps(document if document is not None else completion()).encode()
        await self.head(
            status,
            {"content-type": "application/json", "content-length": str(len(body))}
            | (headers or {}),
        )
        self.writer.write(body)

    async def head(self, status: int, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())

    async def start_stream(self) -> None:
        await self.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})

    async def event(self, document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        await self.piece(f"data: {text}\n\n".encode())

    async def piece(self, raw: bytes) -> None:
        self.writer.write(b"%x\r\n" % len(raw) + raw + b"\r\n")
        await self.writer.drain()

    async def end_stream(self) -> None:
        await self.event("[DONE]")
        self.writer.write(b"0\r\n\r\n")

    def reset(self) -> None:
        self.writer.transport.abort()


Behaviour = Callable[[Received], Awaitable[None]]


class Engine:
    """A stand-in for vLLM's HTTP side. `behave` answers each request."""

    def __init__(self) -> None:
        self.behave: Behaviour = Received.reply
        self.received: list[Received] = []
        self.left = asyncio.Event()  # a gateway has closed a connection
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (one.split(":", 1) for one in rest)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Received(line, headers, body, writer, reader)
        self.received.append(request)
        await self.behave(request)


@pytest.fixture
async def engines() -> AsyncIterator[Callable[[], Awaitable[Engine]]]:
    made: list[Engine] = []

    async def make() -> Engine:
        engine = Engine()
        await engine.start()
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.stop()


@pytest.fixture
async def engine(engines: Any) -> Engine:
    return await engines()


class Gateway:
    """The data path: the real server, application and client of engines, on a free port."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.load = Load()
        self.queues = Queues(self.load, Backlog(settings.held_requests, settings.held_bytes))
        meters = Meters(settings.gateways)
        self.board = Board(self.queues, meters)
        self.telemetry = Telemetry(self.load.in_flight)
        self.telemetry.registry.register(QueueGauges(self.queues))
        self.telemetry.registry.register(QueueCounts(self.queues))
        waiting = Waiting(self.queues, chance=lambda: 0.0, comment_seconds=COMMENT_SECONDS)
        proxy = Proxy(
            pool, self.queues, waiting, self.telemetry, idle_seconds=settings.idle_seconds
        )
        self.app = App(settings, self.board, meters, proxy, self.telemetry)
        self.server = server.data_server(self.app, settings)
        self.board.admit_keys([plain("key-1", API_KEY)])
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Without uvicorn's main loop, whose ticks would cost each test three tenths of a second."""
        self.server.config.load()
        self.server.lifespan = self.server.config.lifespan_class(self.server.config)
        await self.server.startup(sockets=[self._socket])

    async def stop(self) -> None:
        for one in self.server.servers:
            one.close()
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()
        for task in list(self.server.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server.server_state.tasks, return_exceptions=True)

    def route(self, *models: Model) -> None:
        self.board.publish(build(models))

    def sample(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def gateways() -> AsyncIterator[Callable[..., Awaitable[Gateway]]]:
    async with AsyncExitStack() as stack:
        pool = Pool()
        stack.callback(pool.close)

        async def make(
            limits: Limits | None = None, auth: AuthMode = AuthMode.KEYS, **more: Any
        ) -> Gateway:
            gateway = Gateway(replace(settings(limits or Limits(), auth), **more), pool)
            await gateway.start()
            stack.push_async_callback(gateway.stop)
            return gateway

        yield make


@pytest.fixture
async def gateway(gateways: Any) -> Gateway:
    return await gateways()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield session


def settings(limits: Limits, auth: AuthMode) -> Settings:
    return Settings(
        routes=None, keys=None, namespace="berth", auth=auth, limits=limits, drain_seconds=5
    )


def completion(model: str = "llama") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    }


def piece(text: str | None, **more: Any) -> dict[str, Any]:
    """One chunk of a streamed chat completion."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "llama",
        "choices": choices if text is not None else [],
    } | more


def at(*engines: Engine, name: str = "llama", **more: Any) -> Model:
    """A model that runs on these engines."""
    endpoints = tuple(Endpoint(key=one.url, url=one.url, name=f"pod-{one.url}") for one in engines)
    return Model(key=f"uid-{name}", name=name, endpoints=endpoints, **more)


async def until(true: Callable[[], object]) -> None:
    """Wait for what no event tells, three seconds at most."""
    async with asyncio.timeout(3):
        while not true():  # noqa: ASYNC110 -- the code under test has no event for a test
            await asyncio.sleep(0.002)


@pytest.fixture
def kit() -> Any:
    """The plain functions of this file: tests have no package to import them from."""

    class Kit:
        api_key = API_KEY
        at = staticmethod(at)
        completion = staticmethod(completion)
        piece = staticmethod(piece)
        settings = staticmethod(settings)
        until = staticmethod(until)

    return Kit
