"""Connections that try to stay without asking anything."""

import asyncio
import json
import socket
from typing import Any

import pytest

from berth_gateway import server
from berth_gateway.settings import DEFAULT_HEADER_BYTES, Limits

REQUEST = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
SOON = 2.0  # far less than any deadline that is not under test


async def _closed(reader: asyncio.StreamReader) -> bytes:
    """What came until the gateway closed the connection."""
    try:
        return await asyncio.wait_for(reader.read(), SOON)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("sent", [b"", b"GET /v1/mod", b"\r\n"], ids=["nothing", "half", "spaces"])
async def test_a_header_that_does_not_arrive_in_time_ends_the_connection(gateways, sent) -> None:
    gateway = await gateways(limits=Limits(header_seconds=0))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(sent)

    assert await _closed(reader) == b""


async def test_the_same_holds_for_a_second_request_on_the_connection(gateways) -> None:
    gateway = await gateways()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    next(iter(gateway.server.server_state.connections)).limits = Limits(header_seconds=0)
    writer.write(b"\r\n")

    assert await _closed(reader) == b""


async def test_a_body_that_trickles_after_its_answer_ends_the_connection(
    gateways, monkeypatch
) -> None:
    monkeypatch.setattr(server, "BODY_GRACE_SECONDS", 0)
    gateway = await gateways(limits=Limits(body_seconds=0))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")

    answer = await _closed(reader)
    assert answer == b"" or b" 401 " in answer


async def test_a_header_without_end_is_refused(gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /v1/models HTTP/1.1\r\nx: " + b"a" * (DEFAULT_HEADER_BYTES + 1))

    answer = await _closed(reader)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"larger than 16384 bytes" in answer


async def test_a_header_that_is_too_large_is_refused_though_it_comes_at_once(gateway) -> None:
    body = b"{}"
    large = b"x: " + b"a" * DEFAULT_HEADER_BYTES
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/models HTTP/1.1\r\n%b\r\ncontent-length: %d\r\n\r\n" % (large, len(body)) + body
    )

    head, _, told = (await _closed(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(told)["error"]["code"] == "header_too_large"


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "end later"])
async def test_a_header_that_is_too_large_hides_behind_no_other_request(gateway, apart) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(REQUEST + REQUEST[:-2] + b"x: " + b"a" * DEFAULT_HEADER_BYTES)
    if apart:
        await asyncio.sleep(0.05)
    writer.write(b"\r\n\r\n")

    assert (await _closed(reader)).count(b"HTTP/1.1 401 ") < 2


async def test_a_small_header_in_front_of_a_large_body_is_small(gateway, engine, kit) -> None:
    gateway.route(kit.at(engine))
    body = b'{"model": "llama"' + b" " * DEFAULT_HEADER_BYTES + b"}"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(_post(kit, body))

    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), SOON)
    writer.close()


async def test_a_body_larger_than_any_header_is_no_header(gateway) -> None:
    body = b" " * (2 * DEFAULT_HEADER_BYTES)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for _ in range(2):
        writer.write(
            b"POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        assert head.startswith(b"HTTP/1.1 401 ")
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()


async def test_a_request_with_two_lengths_is_refused(gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    )

    assert (await _closed(reader)).startswith(b"HTTP/1.1 400 ")


async def test_what_is_no_http_gets_openais_error_shape(gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"BERTH / HTTP/1.1\r\n\r\n")
    head, _, body = (await _closed(reader)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
    assert b"content-length: %d\r\n" % len(body) in head
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_a_trailer_is_no_header(gateway, kit) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        b"0\r\nauthorization: Bearer %s\r\n\r\n" % kit.api_key.encode()
    )

    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), SOON)
    writer.close()
    assert head.startswith(b"HTTP/1.1 401 ")


def _post(kit: Any, body: bytes, *fields: bytes, path: bytes = b"/v1/chat/completions") -> bytes:
    key = b"authorization: Bearer " + kit.api_key.encode()
    lines = (b"POST %b HTTP/1.1" % path, b"host: x", key, *fields)
    return b"\r\n".join((*lines, b"content-length: %d" % len(body), b"", body))


async def _hang(request: Any) -> None:
    await request.reader.readexactly(1)  # ends when the gateway closes the connection


async def test_a_client_that_leaves_after_a_large_body_that_came_at_once_is_noticed(
    gateway, engine, kit
) -> None:
    engine.behave = _hang
    gateway.route(kit.at(engine))
    request = _post(kit, b'{"model": "llama", "user": "%b"}' % (b"a" * 100_000))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        client.connect(("127.0.0.1", gateway.port))  # the loop has no turn before all is sent
        client.setblocking(False)
        assert client.send(request) == len(request)
        await kit.until(lambda: engine.received)

    await asyncio.wait_for(engine.left.wait(), SOON)


async def test_requests_ahead_of_their_answers_are_bounded(gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(REQUEST * 1000)

    assert (await _closed(reader)).count(b"HTTP/1.1 ") <= server.MAX_PIPELINED + 1


async def test_as_many_requests_as_the_bound_allows_are_answered(gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    last = REQUEST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    writer.write(REQUEST * server.MAX_PIPELINED + last)

    assert (await _closed(reader)).count(b"HTTP/1.1 401 ") == server.MAX_PIPELINED + 1


@pytest.mark.parametrize("begun", [b"0\r\nx: ", b"1;x="], ids=["trailer", "extension"])
async def test_a_chunk_without_end_ends_the_connection(gateway, begun) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = b"POST /v1/models HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head + begun)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 401 ")
    writer.write(b"a" * (DEFAULT_HEADER_BYTES + 1))

    await _closed(reader)


async def test_a_body_of_many_small_chunks_is_no_trailer(gateway, engine, kit) -> None:
    gateway.route(kit.at(engine))
    body = b'{"model": "llama"' + b" " * DEFAULT_HEADER_BYTES + b"}"
    request = _post(kit, b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request + chunks + b"0\r\n\r\n")

    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), SOON)
    writer.close()
    assert engine.received[0].body == body


OFFERS = {
    "h2c": (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMA"),
    "websocket": (b"Connection: upgrade", b"Upgrade: websocket"),
}


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "body later"])
@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_of_another_protocol_is_ignored_and_the_body_stays_a_body(
    gateway, engine, kit, offer, apart
) -> None:
    gateway.route(kit.at(engine))
    body = b'{"model": "llama"}'
    head = _post(kit, body, *OFFERS[offer]).removesuffix(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for rest in (body, body):
        writer.write(head)
        if apart:
            await asyncio.sleep(0.05)
        writer.write(rest)
    for _ in range(2):
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        assert answer.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(len(json.dumps(kit.completion())))
    writer.close()

    assert [one.body for one in engine.received] == [body, body]


async def test_a_tunnel_is_refused(gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n")

    assert (await _closed(reader)).startswith(b"HTTP/1.1 400 ")


async def test_what_is_no_http_behind_a_request_is_not_answered_in_its_place(
    gateway, engine, kit
) -> None:
    engine.behave = _hang
    gateway.route(kit.at(engine))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(_post(kit, b'{"model": "llama"}') + b"BERTH\r\n\r\n")

    assert await _closed(reader) == b""


async def _pour(request: Any) -> None:
    await request.start_stream()
    while True:
        await request.event("a" * 10_000)


async def test_a_client_that_takes_nothing_of_its_answer_keeps_no_place(
    gateways, engine, kit
) -> None:
    engine.behave = _pour
    gateway = await gateways(limits=Limits(stall_seconds=1))
    gateway.route(kit.at(engine))
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1)
    writer.write(_post(kit, b'{"model": "llama", "stream": true}'))
    await kit.until(lambda: gateway.load.in_flight)

    await asyncio.wait_for(engine.left.wait(), 5)
    await kit.until(lambda: not gateway.load.in_flight)
    writer.close()


async def test_a_client_that_reads_slowly_keeps_its_answer(gateways, engine, kit) -> None:
    """For longer than it may take nothing, which is more than a busy machine stands still."""
    engine.behave = _pour
    gateway = await gateways(limits=Limits(stall_seconds=3))
    gateway.route(kit.at(engine))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1)
    writer.write(_post(kit, b'{"model": "llama", "stream": true}'))
    for _ in range(35):
        await asyncio.sleep(0.1)
        assert await reader.read(2**20)

    assert not engine.left.is_set()
    writer.close()


async def test_a_stream_for_http_1_0_has_no_chunks_and_ends_with_the_connection(
    gateway, engine, kit
) -> None:
    async def stream(request: Any) -> None:
        await request.start_stream()
        await request.event("one")
        await request.end_stream()

    engine.behave = stream
    gateway.route(kit.at(engine))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    asked = _post(kit, b'{"model": "llama", "stream": true}')
    writer.write(asked.replace(b"HTTP/1.1", b"HTTP/1.0"))

    head, _, body = (await _closed(reader)).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"data: one\n\ndata: [DONE]\n\n"
    writer.close()


async def test_an_answer_for_http_1_0_that_loses_its_engine_ends_in_a_reset(
    gateway, engine, kit
) -> None:
    async def break_off(request: Any) -> None:
        await request.head(200, {"content-type": "text/plain", "transfer-encoding": "chunked"})
        await request.piece(b"half")
        await asyncio.sleep(0.1)
        request.reset()

    engine.behave = break_off
    gateway.route(kit.at(engine))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(_post(kit, b'{"model": "llama"}').replace(b"HTTP/1.1", b"HTTP/1.0"))

    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SOON)
    writer.close()


async def test_an_answer_without_content_has_no_length_either(gateway, engine, kit) -> None:
    async def nothing(request: Any) -> None:
        await request.head(204, {"content-length": "5"})

    engine.behave = nothing
    gateway.route(kit.at(engine))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(_post(kit, b'{"model": "llama"}', b"connection: close"))

    head, _, body = (await _closed(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 204 ")
    assert b"content-length" not in head
    assert body == b""
    writer.close()


async def test_a_status_that_http_does_not_have_is_a_fault_of_the_engine(
    gateway, engine, kit
) -> None:
    async def oddly(request: Any) -> None:
        await request.head(742, {"content-length": "0"})

    engine.behave = oddly
    gateway.route(kit.at(engine))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(_post(kit, b'{"model": "llama"}'))

    assert b" 503 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), SOON)
    writer.close()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connected(gateway: Any) -> Streams:
    """After the gateway has accepted it."""
    before = gateway.server.server_state.connections.copy()
    streams = await asyncio.open_connection("127.0.0.1", gateway.port)
    async with asyncio.timeout(SOON):
        while not gateway.server.server_state.connections - before:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return streams


async def test_the_longest_idle_connection_gives_way_to_a_new_one(gateways) -> None:
    gateway = await gateways(connections=2)
    first, second, third = [await _connected(gateway) for _ in range(3)]

    assert await _closed(first[0]) == b""
    for reader, writer in (second, third):
        writer.write(REQUEST)
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), SOON)).endswith(
            b" 401 Unauthorized\r\n"
        )
        writer.close()


async def test_idle_connections_have_a_bound_of_their_own(gateways) -> None:
    gateway = await gateways(idle_connections=2)
    first, *_ = [await _connected(gateway) for _ in range(3)]

    assert await _closed(first[0]) == b""


async def test_a_connection_with_a_request_never_gives_way_and_a_new_one_is_told_so(
    gateways, engine, kit
) -> None:
    gateway = await gateways(connections=1)
    gateway.route(kit.at(engine))
    busy = asyncio.Event()

    async def answer_later(request: Any) -> None:
        await busy.wait()
        await request.reply()

    engine.behave = answer_later
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(_post(kit, b'{"model": "llama"}'))
    await kit.until(lambda: engine.received)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(REQUEST)  # before it is accepted: what nobody reads becomes a reset
        turned_away, _ = await asyncio.open_connection(sock=client)
        head, _, body = (await _closed(turned_away)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in head
    assert json.loads(body)["error"]["code"] == "gateway_full"
    busy.set()
    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), SOON)
    writer.close()


async def test_a_request_that_has_been_answered_before_its_body_came_keeps_no_place(
    gateways,
) -> None:
    gateway = await gateways(connections=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
    assert b" 401 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), SOON)
    other, speaks = await asyncio.open_connection("127.0.0.1", gateway.port)
    speaks.write(REQUEST)

    assert b" 401 " in await asyncio.wait_for(other.readuntil(b"\r\n"), SOON)
    speaks.close()
