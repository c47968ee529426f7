"""Bodies that are huge, deep, wide or wrong: told so at once, and nothing of them is kept."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from gateway_site import CHAT, GatewaySite, chat, gateway_site, post, session

from berth_gateway.settings import DEFAULT_BODY_BYTES

MIB = 2**20
ANSWER_SECONDS = 0.1
TRIES = 4  # of which the fastest counts: a machine of two cores does other things as well
PAUSE_SECONDS = 0.5  # before the second, twice as long before the third
GIGABYTE = 10**9
# A body of 8 MiB and its copies: as the server joins it, as text, without its strings.
PEAK_BYTES = 96 * MIB


def _with(field: str, text: str) -> bytes:
    return json.dumps(chat())[:-1].encode() + f', "{field}": {text}}}'.encode()


def _nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return _with("x", opening * depth + "1" + closing * depth)


def _images(count: int) -> bytes:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    return json.dumps(chat() | {"messages": [{"role": "user", "content": [part] * count}]}).encode()


# What is sent, and the status and words of the answer.
BODIES: dict[str, tuple[bytes, int, bytes]] = {
    "a depth of 10k": (_nested(10_000), 400, b"more than 64 deep"),
    "a depth of 10k objects": (_nested(10_000, '{"x":', "}"), 400, b"more than 64 deep"),
    "a depth of 1M": (_nested(1_000_000), 413, b"500000 commas and brackets"),
    "a depth of 1M, never closed": (_with("x", "[" * 1_000_000), 413, b"500000 commas"),
    "a number of 1M digits": (_with("max_tokens", "9" * MIB), 400, b"number is too long"),
    "n of 1e9": (_with("n", "1000000000"), 400, b"integer from 1 to 128"),
    "n as 1e9": (_with("n", "1e9"), 400, b"integer from 1 to 128"),
    "max_tokens of 1e308": (_with("max_tokens", "1e308"), 400, b"integer from 0 to 131072"),
    "logprobs of all": (_with("prompt_logprobs", "-1"), 400, b"integer from 0 to 20"),
    "a template": (_with("chat_template", '"{{ 9 ** 9 ** 9 }}"'), 400, b"leave it out"),
    "a NUL byte": (_with("x", '"\x00"'), 400, b"not valid JSON"),
    "a NUL in the name": (_with("model", r'"m\u0000"'), 404, b"does not exist"),
    "a second model": (_with("model", '"other"'), 404, b"does not exist"),
    "a second n": (_with("n", '1, "n": 999'), 400, b"integer from 1 to 128"),
    "10k images": (_images(10_000), 400, b"this gateway accepts 100"),
    "a million objects": (_with("x", "[" + "{}," * MIB + "{}]"), 413, b"250000 opening braces"),
    "no UTF-8": (_with("x", '"') + b"\xff", 400, b"not UTF-8"),
    "nothing": (b"", 400, b"not valid JSON"),
    "one byte too many": (b" " * (DEFAULT_BODY_BYTES + 1), 413, b"larger than 8388608 bytes"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    with gateway_site(tmp_path_factory.mktemp("bodies"), {}) as running:
        yield running


@pytest.fixture(scope="module")
def resident_bytes(site: GatewaySite) -> int:
    return site.gateway.resident_bytes()


@pytest.fixture
async def flat(site: GatewaySite, resident_bytes: int) -> AsyncIterator[None]:
    """After each test: the gateway serves, and has never needed much memory."""
    yield
    async with session() as client, client.post(site.url + CHAT, json=chat()) as answer:
        assert answer.status == 200
    assert site.gateway.resident_bytes("VmHWM") - resident_bytes < PEAK_BYTES


async def _fastest(site: GatewaySite, *pieces: bytes, status: int, words: bytes) -> float:
    """The seconds that an answer took, of several tries, later ones where the machine is busy."""
    seconds: list[float] = []
    while len(seconds) < TRIES and min(seconds, default=ANSWER_SECONDS) >= ANSWER_SECONDS:
        await asyncio.sleep(len(seconds) * PAUSE_SECONDS)
        client = await site.connect()
        began = time.perf_counter()
        for piece in pieces:
            await client.send(piece)
        answer = await client.head()
        seconds.append(time.perf_counter() - began)
        client.close()
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
        assert words in answer
        assert b'{"error": {"message": ' in answer
    return min(seconds)


@pytest.mark.parametrize(("body", "status", "words"), BODIES.values(), ids=BODIES)
async def test_fault_39_a_nasty_body_is_refused_at_once(
    site: GatewaySite, flat: None, body: bytes, status: int, words: bytes
) -> None:
    assert await _fastest(site, post(body), status=status, words=words) < ANSWER_SECONDS


async def test_fault_39_a_gigabyte_that_is_announced_is_not_even_read(
    site: GatewaySite, flat: None
) -> None:
    request = post(length=GIGABYTE)

    words = b"larger than 8388608 bytes"
    assert await _fastest(site, request, status=413, words=words) < ANSWER_SECONDS


async def test_fault_39_a_gigabyte_that_streams_is_read_to_the_limit(
    site: GatewaySite, flat: None
) -> None:
    """Nine of the thousand megabytes, and the answer is there."""
    head = post().replace(b"content-length: 0", b"transfer-encoding: chunked")
    chunk = b"%x\r\n" % MIB + b" " * MIB + b"\r\n"
    words = b"larger than 8388608 bytes"

    took = await _fastest(site, head, *[chunk] * 9, status=413, words=words)
    assert took < ANSWER_SECONDS


async def test_fault_39_a_gzip_bomb_stays_packed(site: GatewaySite, flat: None) -> None:
    bomb = gzip.compress(b" " * (64 * MIB), 9)
    words = b"content-encoding 'gzip' is not accepted"

    took = await _fastest(site, post(bomb, "content-encoding: gzip"), status=400, words=words)
    assert took < ANSWER_SECONDS


async def test_fault_39_numbers_beyond_any_range_are_the_engines_business(
    site: GatewaySite, flat: None
) -> None:
    for text in ("1e308", "1e999", "-0.0", "NaN"):
        client = await site.connect()
        await client.send(post(_with("temperature", text)))
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        client.close()
