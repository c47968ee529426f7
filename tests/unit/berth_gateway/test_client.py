"""Streams between an engine and a client: bytes, pace and ends; on our own server and on any."""

import asyncio
import gc
import json
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvicorn

from berth_gateway.server import Cycle

CHAT = "/v1/chat/completions"
BODY = b'{"model": "llama", "stream": true}'
SOON = 0.1  # seconds


@asynccontextmanager
async def _plain(app: Any) -> AsyncIterator[str]:
    """uvicorn as it comes: ASGI and nothing beside."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        config = uvicorn.Config(app, loop="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([door]))
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture(params=["own", "plain"])
async def url(request: pytest.FixtureRequest, gateway: Any) -> AsyncIterator[str]:
    if request.param == "own":
        yield gateway.url
        return
    async with _plain(gateway.app) as url:
        yield url


def _pieces(seed: int) -> list[bytes]:
    chance = random.Random(seed)
    return [chance.randbytes(chance.choice((1, 30, 250, 70_000))) for _ in range(60)]


@pytest.mark.parametrize("seed", range(3))
async def test_a_stream_arrives_byte_by_byte_as_the_engine_wrote_it(
    url, gateway, http, engine, kit, seed
) -> None:
    pieces = _pieces(seed)

    async def stream(request: Any) -> None:
        await request.start_stream()
        for piece in pieces:
            await request.piece(piece)
            if len(piece) == 1:
                await asyncio.sleep(0)
        request.writer.write(b"0\r\n\r\n")

    engine.behave = stream
    gateway.route(kit.at(engine))
    answers = [await http.post(url + CHAT, data=BODY) for _ in range(3)]

    assert [await one.read() for one in answers] == [b"".join(pieces)] * 3


async def test_a_request_arrives_byte_by_byte_as_the_client_wrote_it(
    url, gateway, http, engine, kit
) -> None:
    gateway.route(kit.at(engine))
    bodies = [
        json.dumps({"model": "llama", "prompt": "é" * size}).encode() for size in (1, 300_000)
    ]
    for body in bodies:
        await http.post(url + CHAT, data=body)

    assert [one.body for one in engine.received] == bodies


async def test_a_client_that_leaves_frees_the_engine_at_once(url, gateway, engine, kit) -> None:
    async def never_ends(request: Any) -> None:
        await request.start_stream()
        await request.event("first")
        await request.reader.readexactly(1)

    engine.behave = never_ends
    gateway.route(kit.at(engine))
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {kit.api_key}"}) as http:
        response = await http.post(url + CHAT, data=BODY)
        await response.content.readany()
        response.close()

    await asyncio.wait_for(engine.left.wait(), SOON)


async def test_a_client_that_reads_slowly_makes_the_engine_wait(url, gateway, engine, kit) -> None:
    sent = 0
    piece = b"x" * 50_000

    async def flood(request: Any) -> None:
        nonlocal sent
        await request.start_stream()
        while sent < 200 * 2**20:
            await request.piece(piece)  # waits once the system's buffers are full
            sent += len(piece)

    engine.behave = flood
    gateway.route(kit.at(engine))
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
    tracemalloc.start()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n"
        b"authorization: Bearer %s\r\n\r\n%b" % (len(BODY), kit.api_key.encode(), BODY)
    )
    await reader.readuntil(b"xxx")
    before = -1
    while before != sent:  # until nothing moves any more
        before = sent
        await asyncio.sleep(SOON)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    writer.close()

    assert 0 < sent < 50 * 2**20  # what the system's own buffers take
    assert held < 2 * 2**20


async def test_a_client_that_reads_on_gets_all_of_it(url, gateway, http, engine, kit) -> None:
    async def flood(request: Any) -> None:
        await request.start_stream()
        for _ in range(200):
            await request.piece(b"x" * 50_000)
        request.writer.write(b"0\r\n\r\n")

    engine.behave = flood
    gateway.route(kit.at(engine))
    response = await http.post(url + CHAT, data=BODY)
    await asyncio.sleep(SOON)  # both sides are full by now

    assert len(await response.read()) == 10_000_000


async def test_two_requests_at_once_on_one_connection_are_answered_in_order(
    gateway, engine, kit
) -> None:
    gateway.route(kit.at(engine))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    one = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(BODY)
    one += b"authorization: Bearer %s\r\nx-request-id: " % kit.api_key.encode()
    writer.write(one + b"a\r\n\r\n" + BODY + one + b"b\r\n\r\n" + BODY)
    seen = b""
    while seen.count(b"HTTP/1.1 200 OK") < 2 or not seen.endswith(b"}}"):
        seen += await asyncio.wait_for(reader.read(2**16), 2)
    writer.close()

    assert seen.index(b"x-request-id: a") < seen.index(b"x-request-id: b")


async def test_a_request_leaves_no_cycle_for_the_collector(gateway, http, engine, kit) -> None:
    gateway.route(kit.at(engine))
    await (await http.post(gateway.url + CHAT, data=BODY)).read()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await (await http.post(gateway.url + CHAT, data=BODY)).read()
        left = [one for one in gc.get_objects() if isinstance(one, Cycle)]
    finally:
        gc.enable()

    assert len(left) == 1  # the connection's last
