"""Connections that try to stay without asking anything."""

import asyncio
import json

import pytest

from berth_gateway import server
from berth_gateway.settings import Limits

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
    writer.write(b"GET /v1/models HTTP/1.1\r\nx: " + b"a" * (server.MAX_HEADER_BYTES + 1))

    assert (await _closed(reader)).startswith(b"HTTP/1.1 400 ")


async def test_a_body_larger_than_any_header_is_no_header(gateway) -> None:
    body = b" " * (2 * server.MAX_HEADER_BYTES)
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
