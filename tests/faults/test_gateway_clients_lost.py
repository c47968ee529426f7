"""Clients that keep connections and ask nothing, that read nothing, and that leave."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway_site import (
    CHAT,
    EngineProcess,
    GatewaySite,
    Wire,
    chat,
    gateway_site,
    percentile,
    post,
    session,
    until,
)

from berth_gateway.settings import DEFAULT_OUTPUT_TOKENS

MIB = 2**20

DEADLINE_SECONDS = 2  # of a header, of a body, of a reader
BODY_GRACE_SECONDS = 5  # in which an answer of 408 may be read
IDLE_CONNECTIONS = 1000
SLOW_CLIENTS = 100  # of each kind
# Files of the gateway besides idle connections: slow clients', good ones', to engines, its own.
MOST_OTHERS = 2 * SLOW_CLIENTS + 50
IDLERS = 3000
READERS = 4
GOOD_REQUESTS = 300
TRIES = 2  # what others do to the machine passes, what these clients do to the gateway does not
# What a machine of two cores may do to a request by itself, whoever else is connected.
NOISE_SECONDS = 0.01
RESIDENT_BYTES_EACH = 16 * 2**10  # of a connection, as settings.py has it


async def test_fault_37_slow_and_idle_clients_are_closed_and_good_ones_do_not_feel_them(
    tmp_path,
) -> None:
    deadlines = (
        ("--header-seconds", "--body-seconds", "--stall-seconds"),
        (str(DEADLINE_SECONDS),) * 3,
    )
    arguments = [word for pair in zip(*deadlines, strict=True) for word in pair]
    bound = ("--max-idle-connections", str(IDLE_CONNECTIONS))
    knobs = {"TOKENS_PER_SECOND": "5000"}
    flags = ("--max-model-len", "200000", "--kv-cache-memory-bytes", str(1024 * MIB))
    with gateway_site(tmp_path, knobs, flags=flags, arguments=(*arguments, *bound)) as site:
        before = await _p99_seconds(site)
        resident = site.gateway.resident_bytes()
        during = []
        async with _idlers(site) as idle:
            for _ in range(TRIES):
                sent = (b"GET /v1/mod", post(length=99))
                trickling = asyncio.gather(*(_trickle(site, begun) for begun in sent))
                during.append(await _p99_seconds(site))
                assert site.gateway.open_files() < IDLE_CONNECTIONS + MOST_OTHERS
                grown = site.gateway.resident_bytes() - resident
                await trickling
            await idle[0].rest()  # the longest idle made room for the others
        await _readers(site)
        after = await _p99_seconds(site)

        assert min(during) < 2 * max(before, after) + NOISE_SECONDS
        assert grown < (IDLE_CONNECTIONS + MOST_OTHERS) * RESIDENT_BYTES_EACH
        assert site.in_flight() == 0


async def _p99_seconds(site: GatewaySite) -> float:
    """Of a good client's requests, one after the other, on connections that it keeps."""
    seconds = []
    async with session() as client:
        for _ in range(GOOD_REQUESTS):
            began = time.perf_counter()
            async with client.post(site.url + CHAT, json=chat(tokens=1)) as answer:
                assert answer.status == 200
                await answer.read()
            seconds.append(time.perf_counter() - began)
    return percentile(seconds, 0.99)


@asynccontextmanager
async def _idlers(site: GatewaySite) -> AsyncIterator[list[Wire]]:
    """Each has had an answer, and keeps its connection."""
    idle = []
    for _ in range(IDLERS):
        one = await site.connect()
        await one.send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        idle.append(one)
        if len(idle) % 100 == 0:
            await one.head()
    try:
        yield idle
    finally:
        for one in idle:
            one.close()


async def _trickle(site: GatewaySite, begun: bytes) -> None:
    """A byte now and then, which no deadline may count as progress."""
    clients = [await site.connect() for _ in range(SLOW_CLIENTS)]
    began = time.monotonic()
    for one in clients:
        await one.send(begun)
    await asyncio.gather(*map(_trickle_on, clients))
    assert time.monotonic() - began < DEADLINE_SECONDS + BODY_GRACE_SECONDS + 2


async def _trickle_on(client: Wire) -> None:
    ends = asyncio.create_task(client.rest())
    while not ends.done():
        try:
            await client.send(b"x")
        except ConnectionError:
            break
        await asyncio.wait([ends], timeout=0.5)
    await ends
    client.close()


async def _readers(site: GatewaySite) -> None:
    """Clients that ask for much and read nothing: their requests leave the engine, too."""
    body = chat(tokens=DEFAULT_OUTPUT_TOKENS, stream=True)
    clients = [await site.connect(receive_bytes=4096) for _ in range(READERS)]
    for one in clients:
        await one.send(post(json.dumps(body).encode()))
    (engine,) = site.engines
    await until(lambda: engine.running() == READERS, seconds=10)
    await until(lambda: engine.running() == 0, seconds=30)
    assert site.gateway.metric("berth_gateway_requests_total", code="499") == READERS
    for one in clients:
        one.close()


CROWD = 500  # streams that are given up together
DEPARTURES = 10_000
ROUNDS_SECONDS = 40.0
FEWEST_DEPARTURES = 2000  # on a machine that is busy with something else
GONE_SECONDS = 1.0  # until the engine knows; of ten crowds a machine that stalls may hold up one
LEAK_BYTES = 16 * MIB
LEAK_FILES = 5


async def test_fault_38_clients_that_leave_in_mid_stream_leave_nothing_behind(tmp_path) -> None:
    with gateway_site(
        tmp_path, {"TOKENS_PER_SECOND": "2"}, flags=("--max-num-seqs", "600")
    ) as site:
        (engine,) = site.engines
        files = site.gateway.open_files()
        gone_seconds = [await _crowd(site, engine)]
        resident = site.gateway.resident_bytes()
        left, ends = CROWD, time.monotonic() + ROUNDS_SECONDS
        while left < DEPARTURES and time.monotonic() < ends:
            gone_seconds.append(await _crowd(site, engine))
            left += CROWD

        assert left >= FEWEST_DEPARTURES
        late = [seconds for seconds in gone_seconds if seconds >= GONE_SECONDS]
        assert len(late) <= max(1, len(gone_seconds) // 10), gone_seconds
        assert site.in_flight() == 0
        assert site.gateway.metric("berth_gateway_requests_total", code="499") == left
        assert site.gateway.resident_bytes() - resident < LEAK_BYTES
        await until(lambda: site.gateway.open_files() - files < LEAK_FILES, seconds=10)


async def _crowd(site: GatewaySite, engine: EngineProcess) -> float:
    """The seconds from the clients' leaving to the engine's rest."""
    request = post(json.dumps(chat(tokens=1000, stream=True)).encode())
    clients = [await site.connect() for _ in range(CROWD)]
    for one in clients:
        await one.send(request)
    await asyncio.gather(*(one.head() for one in clients))
    assert engine.running() == CROWD
    began = time.monotonic()
    for one in clients:
        one.close()
    await until(lambda: engine.running() == 0, seconds=10)
    return time.monotonic() - began
