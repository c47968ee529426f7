"""Whoever should not get in, by paths, by HTTP's corners, by keys; and whom requests may reach."""

import asyncio
import hashlib
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateway_site import (
    CHAT,
    KEY,
    MODEL,
    GatewaySite,
    chat,
    gateway_site,
    percentile,
    post,
    session,
)

from berth_gateway.routing.keyring import Keyring
from berth_gateway.world.keys import plain

SCOPED_KEY = "sk-berth-scoped"
BAD_KEY = "sk-berth-never-made"
QUERY_KEY = "sk-berth-in-the-query"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    hashed = hashlib.sha256(SCOPED_KEY.encode()).hexdigest()
    scoped = json.dumps({"sha256": hashed, "models": [MODEL]})
    folder = tmp_path_factory.mktemp("strangers")
    with gateway_site(folder, {}, keys=(KEY, QUERY_KEY, scoped)) as running:
        yield running
        log = running.log()
    # After every test of this file, whatever it sent.
    for secret in (
        KEY,
        SCOPED_KEY,
        BAD_KEY,
        QUERY_KEY,
        hashed,
        hashlib.sha256(KEY.encode()).hexdigest(),
    ):
        assert secret not in log


async def _say(site: GatewaySite, request: bytes) -> bytes:
    """All that the gateway answers on a connection that it is asked to close."""
    client = await site.connect()
    await client.send(request)
    answer = await client.rest()
    client.close()
    return answer


def _line(method: str, target: str, *fields: str, key: str = KEY) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "host: x", f"authorization: Bearer {key}", *fields]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode()


# vLLM serves most of these without a key, and some change what it is.
ENGINES_OWN = (
    "/invocations", "/pooling", "/classify", "/collective_rpc", "/pause", "/resume", "/sleep",
    "/wake_up", "/update_weights", "/scale_elastic_ep", "/abort_requests", "/load", "/metrics",
    "/server_info", "/reset_prefix_cache", "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
    "/inference/v1/generate", "/docs", "/openapi.json", "/ping", "/health", "/version", "/demand",
)  # fmt: skip
DETOURS = (
    "/v1/../invocations", "/v1/chat/completions/../../../collective_rpc", "/v1/models/../../metrics",
    "//v1//../metrics", "//metrics", "/v1//chat/completions", "/v1/chat/completions/",
    "/v1/%2e%2e/metrics", "/v1/chat%2f..%2f..%2fmetrics", "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/chat/completions%00", "/v1/chat/completions;/../../metrics", "/V1/CHAT/COMPLETIONS",
    "/v1/chat/completions%0d%0ax-evil:%201", "/v1\\..\\metrics", "/v1/chat/completions%3f/metrics",
    "http://169.254.169.254/latest/meta-data", "http://ok@evil.test/metrics",
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", ENGINES_OWN + DETOURS)
async def test_fault_40_a_path_that_is_not_on_the_list_ends_at_the_gateway(
    site: GatewaySite, method: str, target: str
) -> None:
    answer = await _say(site, _line(method, target, "content-length: 0"))
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head[9:12] in {b"400", b"404", b"405"}
    assert json.loads(body)["error"]["code"] in {
        "unknown_url",
        "model_not_found",
        "method_not_supported",
        None,
    }
    assert b"x-evil" not in head


BODY = json.dumps(chat()).encode()
SMUGGLED = _line("GET", "/v1/models")
SMUGGLING = {
    "a length and chunks": ("transfer-encoding: chunked", f"content-length: {len(BODY)}"),
    "two lengths": (f"content-length: {len(BODY)}", f"content-length: {len(BODY) + 1}"),
    "two lengths in one": (f"content-length: {len(BODY)}, {len(BODY) + 1}",),
    "a length with a sign": (f"content-length: +{len(BODY)}",),
    "a length below nothing": ("content-length: -1",),
    "a hexadecimal length": (f"content-length: 0x{len(BODY):x}",),
    "chunks by another name": ("transfer-encoding: xchunked",),
    "chunks that are not last": ("transfer-encoding: chunked, identity",),
    "a space before the colon": ("transfer-encoding : chunked",),
    "a folded line": ("transfer-encoding:", " chunked"),
    "a bare line feed": ("x: y\ntransfer-encoding: chunked",),
    "a NUL": ("x: \x00",),
    "a second line in a request id": ("x-request-id: a\nx-evil: 1",),
}


@pytest.mark.parametrize("fields", SMUGGLING.values(), ids=SMUGGLING)
async def test_fault_40_a_request_with_two_readings_is_none(
    site: GatewaySite, fields: tuple[str, ...]
) -> None:
    head = [f"POST {CHAT} HTTP/1.1", "host: x", f"authorization: Bearer {KEY}", *fields, "", ""]
    answer = await _say(site, "\r\n".join(head).encode() + BODY + SMUGGLED)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1, "what was hidden behind it has been answered"
    assert b"x-evil" not in answer


async def test_fault_40_a_name_in_a_request_cannot_write_a_header(site: GatewaySite) -> None:
    evil = "m\r\nx-evil: 1\r\n\r\n"
    for request in (
        post(json.dumps(chat() | {"model": evil}).encode(), "connection: close"),
        _line("GET", "/v1/models/m%0d%0ax-evil:%201"),
        _line("GET", "/v1/models", "x-request-id: a b\tx-evil"),
    ):
        head, _, _ = (await _say(site, request)).partition(b"\r\n\r\n")
        assert b"x-evil" not in head


ADDRESSES = (
    "http://169.254.169.254/latest/meta-data", "http://ok\\@evil.test/", "https://ok@evil.test/a.png",
    "//evil.test/a.png", "file:///etc/passwd", "ftp://evil.test/", "HTTP://127.0.0.1:8081/metrics",
    " data:image/png;base64,AAAA", "http://[::ffff:169.254.169.254]/", "gopher://evil.test/",
)  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("short", [False, True])
async def test_fault_40_an_engine_is_sent_nowhere(
    site: GatewaySite, address: str, short: bool
) -> None:
    part = {"type": "image_url", "image_url": address if short else {"url": address}}
    body = chat() | {"messages": [{"role": "user", "content": [part]}]}
    async with session() as client, client.post(site.url + CHAT, json=body) as answer:
        assert answer.status == 400
        told = (await answer.json())["error"]

    assert told["code"] == "invalid_image_url"
    assert told["param"] == "messages[0].content[0].image_url"


@pytest.mark.parametrize(
    "name",
    ["private", "private.team-b", "team-b/private", "../team-b/private", "m.team-b", "*", ""],
)
async def test_fault_40_a_key_reaches_its_own_models_only(site: GatewaySite, name: str) -> None:
    known, unknown = [
        await _say(
            site,
            post(json.dumps(chat() | {"model": one}).encode(), "connection: close", key=SCOPED_KEY),
        )
        for one in (name, "no-such-model")
    ]

    assert known.startswith(b"HTTP/1.1 404 " if name else b"HTTP/1.1 400 ")
    assert b'"private"' not in known
    if name:
        told, truth = (
            json.loads(one.partition(b"\r\n\r\n")[2])["error"] for one in (known, unknown)
        )
        assert told["message"] == truth["message"].replace("no-such-model", name)
        assert told | {"message": ""} == truth | {"message": ""}


@pytest.mark.parametrize(
    "target", [f"/v1/models?api_key={QUERY_KEY}", f"/v1/models?key={QUERY_KEY}&token={QUERY_KEY}"]
)
async def test_fault_40_a_key_in_the_query_is_none_and_is_not_logged(
    site: GatewaySite, target: str
) -> None:
    answer = await _say(site, _line("GET", target, key=BAD_KEY))

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert QUERY_KEY.encode() not in answer
    assert QUERY_KEY not in site.log()


FLOOD_SECONDS = 3.0
FLOODS = 2  # a machine that stands still for a moment spoils one
FLOODERS = 4
AHEAD = 16  # requests that a flooder sends at once
# On a machine that is busy with something else; an idle one has thousands a second.
FEWEST_GUESSES = 1000
GOOD_SECONDS = 0.5  # of a good client's request at the 99th percentile, while they are at it
SMALL_LOG_BYTES = 4096
SMALL_BYTES = 8 * 2**20


async def test_fault_40_thousands_of_bad_keys_a_second_keep_no_good_one_out(
    site: GatewaySite,
) -> None:
    log, resident = len(site.log()), site.gateway.resident_bytes()
    slowest = []
    for _ in range(FLOODS):
        ends = time.monotonic() + FLOOD_SECONDS
        seconds, *refused = await asyncio.gather(
            _ask_until(site, ends), *(_guess_until(site, ends) for _ in range(FLOODERS))
        )
        assert sum(refused) > FEWEST_GUESSES
        slowest.append(percentile(seconds, 0.99))

    assert min(slowest) < GOOD_SECONDS, slowest
    assert len(site.log()) - log < SMALL_LOG_BYTES
    assert site.gateway.resident_bytes() - resident < SMALL_BYTES


async def _ask_until(site: GatewaySite, ends: float) -> list[float]:
    seconds = []
    async with session() as client:
        while time.monotonic() < ends:
            began = time.monotonic()
            async with client.post(site.url + CHAT, json=chat(tokens=1)) as answer:
                assert answer.status == 200
            seconds.append(time.monotonic() - began)
    return seconds


async def _guess_until(site: GatewaySite, ends: float) -> int:
    """How many guesses were refused: all of them."""
    refused = 0
    client = await site.connect()
    while time.monotonic() < ends:
        guesses = [f"{BAD_KEY}-{random.random()}" for _ in range(AHEAD)]
        await client.send(
            b"".join(
                _line("GET", "/v1/models", key=one).replace(b"connection: close\r\n", b"")
                for one in guesses
            )
        )
        told = b""
        while told.count(b"HTTP/1.1 ") < AHEAD or not told.endswith(b"}}"):
            told += await client.receive()
        assert told.count(b"HTTP/1.1 401 ") == AHEAD
        refused += AHEAD
    client.close()
    return refused


GUESSES = 4000
TELLS_NOTHING = 0.1  # of a look-up's time: what two halves of the same guesses may differ by


def test_fault_40_how_long_a_look_up_takes_says_nothing_about_how_near_a_guess_was() -> None:
    key = "".join(random.choices("0123456789abcdef", k=64))
    ring = Keyring([plain("key-1", key)], b"salt of this process")

    def leaky(authorization: bytes) -> bool:
        """What must be told from it, or this test could not fail."""
        known = f"Bearer {key}".encode()
        return all(a == b for a, b in zip(authorization, known, strict=False))

    assert _difference(key, ring.find) < TELLS_NOTHING
    assert _difference(key, leaky) > TELLS_NOTHING


def _difference(key: str, look_up: Callable[[bytes], Any]) -> float:
    """Between near and far guesses, in turn: of the medians, as a share of the smaller."""
    seconds: tuple[list[int], list[int]] = [], []
    for number in range(GUESSES):
        end = "".join(random.choices("ghijklmnop", k=8))
        near = number % 2
        guess = key[:-8] + end if near else end + key[8:]
        authorization = f"Bearer {guess}".encode()
        began = time.perf_counter_ns()
        look_up(authorization)
        seconds[near].append(time.perf_counter_ns() - began)
    far, close = map(statistics.median, seconds)
    return abs(far - close) / min(far, close)
