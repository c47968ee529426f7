"""Requests that wait: what their clients see, on real connections."""

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import aiohttp
import openai
import pytest

from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.ejection import FIRST_PAUSE_SECONDS
from berth_gateway.routing.snapshot import Endpoint, Model

CHAT = "/v1/chat/completions"
COLD = Model(key="uid-llama", name="llama", namespace="team", phase="Loading", eta_seconds=20)
ASK = {"model": "llama", "messages": []}
STREAM = ASK | {"stream": True}


def _post(http: Any, gateway: Any, document: Any, path: str = CHAT) -> "asyncio.Task[Any]":
    return asyncio.create_task(http.post(gateway.url + path, json=document))


async def _held(kit: Any, gateway: Any, count: int = 1) -> None:
    await kit.until(lambda: gateway.queues.whole.requests == count)


def _warm(kit: Any, *engines: Any, **more: Any) -> Model:
    return replace(COLD, endpoints=kit.at(*engines).endpoints, **more)


async def _text(request: Any) -> None:
    await request.start_stream()
    await request.event("first")
    await request.end_stream()


async def test_a_request_for_a_cold_model_waits_and_is_answered(gateway, http, engine, kit) -> None:
    gateway.route(COLD)
    asking = _post(http, gateway, ASK)
    await _held(kit, gateway)
    gateway.route(_warm(kit, engine))
    response = await asking

    assert response.status == 200
    assert await response.json() == kit.completion()
    assert response.headers["x-berth-held-seconds"] == "0"


async def test_an_answer_that_was_not_held_does_not_say_how_long(
    gateway, http, engine, kit
) -> None:
    gateway.route(_warm(kit, engine))
    response = await http.post(gateway.url + CHAT, json=ASK)

    assert "x-berth-held-seconds" not in response.headers


async def test_first_come_first_served(gateway, http, engine, kit) -> None:
    go_on = asyncio.Semaphore(0)

    async def slow(request: Any) -> None:
        await go_on.acquire()
        await request.reply()

    engine.behave = slow
    gateway.route(_warm(kit, engine, room=1))
    asking = []
    for number in range(4):
        asking.append(_post(http, gateway, ASK | {"user": str(number)}))
        await kit.until(
            lambda number=number: len(engine.received) + gateway.queues.whole.requests == number + 1
        )
    for _ in asking:
        go_on.release()
    answers = await asyncio.gather(*asking)

    assert [one.status for one in answers] == [200] * 4
    assert [json.loads(one.body)["user"] for one in engine.received] == ["0", "1", "2", "3"]


async def test_a_full_queue_is_a_429_with_what_is_known(gateway, http, kit) -> None:
    gateway.route(replace(COLD, max_pending=1))
    waiting = _post(http, gateway, ASK)
    await _held(kit, gateway)
    response = await http.post(gateway.url + CHAT, json=STREAM)
    error = (await response.json())["error"]
    waiting.cancel()

    assert (response.status, error["code"]) == (429, "queue_full")
    assert response.headers["retry-after"] == "20"
    assert response.headers["x-berth-phase"] == "Loading"
    assert response.headers["x-berth-eta-seconds"] == "20"
    labels = {"namespace": "team", "model": "llama", "reason": "queue_full"}
    assert gateway.sample("berth_gateway_refused_total", **labels) == 1


async def test_a_full_gateway_is_a_503_for_the_model_that_fills_it(gateways, http, kit) -> None:
    gateway = await gateways(held_requests=2)
    gateway.route(COLD)
    waiting = _post(http, gateway, ASK)
    await _held(kit, gateway)
    response = await http.post(gateway.url + CHAT, json=ASK)
    waiting.cancel()

    assert (response.status, (await response.json())["error"]["code"]) == (503, "gateway_full")


async def test_where_nothing_will_come_nobody_waits(gateway, http) -> None:
    gateway.route(replace(COLD, phase="Failed", reason="OutOfMemory", eta_seconds=None))
    response = await http.post(gateway.url + CHAT, json=STREAM)
    error = (await response.json())["error"]

    assert (response.status, error["code"]) == (503, "model_not_ready")
    assert "OutOfMemory" in error["message"]
    assert "kubectl -n team describe modeldeployment llama" in error["message"]
    assert response.headers["x-berth-phase"] == "Failed"


async def test_after_its_time_a_request_is_told_to_come_back(gateway, http) -> None:
    gateway.route(replace(COLD, max_wait_seconds=1))
    response = await http.post(gateway.url + CHAT, json=ASK)
    error = (await response.json())["error"]

    assert (response.status, error["code"]) == (503, "model_not_ready")
    assert error["message"] == "no replica of llama took the request within 1 s; try again later"
    assert response.headers["retry-after"] == "20"
    assert int(response.headers["x-berth-held-seconds"]) >= 1


async def test_a_stream_that_waits_begins_with_comments(gateway, http, engine, kit) -> None:
    engine.behave = _text
    gateway.route(COLD)
    response = await http.post(gateway.url + CHAT, json=STREAM)
    comment = await response.content.readuntil(b"\n\n")
    gateway.route(_warm(kit, engine))
    rest = await response.read()

    assert response.status == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-berth-phase"] == "Loading"
    assert response.headers["x-berth-eta-seconds"] == "20"
    assert response.headers["x-berth-held-seconds"] == "0"
    assert comment == b": waiting for llama: phase Loading, about 20 s\n\n"
    assert rest.endswith(b"data: first\n\ndata: [DONE]\n\n")
    assert rest.replace(comment, b"") == b"data: first\n\ndata: [DONE]\n\n"


async def test_a_stream_that_has_its_answer_in_time_has_no_comments(
    gateway, http, engine, kit
) -> None:
    engine.behave = _text
    gateway.route(COLD)
    asking = _post(http, gateway, STREAM)
    await _held(kit, gateway)
    gateway.route(_warm(kit, engine))
    response = await asking

    assert await response.read() == b"data: first\n\ndata: [DONE]\n\n"
    assert response.headers["x-berth-held-seconds"] == "0"


async def test_openais_client_reads_a_stream_over_the_comments(gateway, engine, kit) -> None:
    async def talk(request: Any) -> None:
        await request.start_stream()
        for word in ("Par", "is"):
            await request.event(kit.piece(word))
        await request.end_stream()

    engine.behave = talk
    gateway.route(COLD)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=kit.api_key) as client:
        stream = await client.chat.completions.create(model="llama", messages=[], stream=True)
        gateway.route(_warm(kit, engine))
        words = [chunk.choices[0].delta.content async for chunk in stream]

    assert words == ["Par", "is"]


async def test_a_wait_in_vain_ends_a_stream_with_an_error_event(gateway, http) -> None:
    gateway.route(replace(COLD, max_wait_seconds=1))
    response = await http.post(gateway.url + CHAT, json=STREAM)
    lines = (await response.text()).splitlines()

    assert response.status == 200
    event = json.loads(lines[-2].removeprefix("data: "))
    assert event["error"]["code"] == "model_not_ready"
    assert "data: [DONE]" not in lines


async def test_on_anthropics_path_the_error_event_is_anthropics(gateway, http) -> None:
    gateway.route(replace(COLD, max_wait_seconds=1))
    response = await http.post(gateway.url + "/v1/messages", json=STREAM)
    *_, name, data, _, _ = (await response.text()).split("\n")

    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["type"] == "error"


@pytest.mark.parametrize("status", [400, 500])
async def test_an_engines_error_after_comments_becomes_an_error_event(
    gateway, http, engine, kit, status
) -> None:
    document = {"error": {"message": "too long", "code": status}}
    engine.behave = lambda request: request.reply(status, document)
    gateway.route(COLD)
    response = await http.post(gateway.url + CHAT, json=STREAM)
    await response.content.readuntil(b"\n\n")
    gateway.route(_warm(kit, engine))
    last = (await response.text()).splitlines()[-2]

    assert json.loads(last.removeprefix("data: ")) == document
    counted = {"namespace": "team", "model": "llama", "code": str(status)}
    assert gateway.sample("berth_gateway_requests_total", **counted) == 1


@pytest.mark.parametrize("document", [ASK, STREAM])
async def test_a_client_that_leaves_is_forgotten(gateway, http, kit, document) -> None:
    gateway.route(COLD)
    asking = _post(http, gateway, document)
    await _held(kit, gateway)
    if document is STREAM:
        (await asking).close()
    asking.cancel()
    await kit.until(lambda: gateway.queues.whole == Backlog())

    counted = {"namespace": "team", "model": "llama", "code": "499"}
    await kit.until(lambda: gateway.sample("berth_gateway_requests_total", **counted) == 1)


@pytest.mark.parametrize("status", [429, 503])
async def test_when_all_are_busy_a_request_waits_until_one_is_not(
    gateway, http, engines, kit, status
) -> None:
    busy = [await engines() for _ in range(3)]
    for one in busy:
        one.behave = lambda request: request.reply(status, {})
    gateway.route(_warm(kit, *busy))
    asking = _post(http, gateway, ASK)
    await kit.until(lambda: all(one.received for one in busy))
    await _held(kit, gateway)
    busy[1].behave = lambda request: request.reply()
    response = await asking

    assert response.status == 200
    assert "x-berth-held-seconds" in response.headers


async def test_a_busy_engine_is_asked_again_and_again_but_not_without_a_pause(
    gateway, http, engine, kit
) -> None:
    asked_at = []

    async def busy(request: Any) -> None:
        asked_at.append(time.monotonic())
        await request.reply(429, {})

    engine.behave = busy
    gateway.route(_warm(kit, engine, max_wait_seconds=2))
    answers = await asyncio.gather(*(_post(http, gateway, ASK) for _ in range(5)))

    assert [one.status for one in answers] == [503] * 5
    assert asked_at[-1] - asked_at[0] >= FIRST_PAUSE_SECONDS
    # All five before the first answer; then one after each pause: 0.1, 0.2, 0.4, 0.8 seconds.
    assert len(asked_at) <= 5 + 4


async def test_when_none_can_be_reached_a_request_waits_for_another(
    gateway, http, engine, kit
) -> None:
    gone = Endpoint("gone", "http://127.0.0.1:9", "gone")
    gateway.route(replace(COLD, endpoints=(gone,)))
    asking = _post(http, gateway, ASK)
    await _held(kit, gateway)
    gateway.route(_warm(kit, engine))

    assert (await asking).status == 200


async def test_an_engine_that_breaks_every_try_is_not_asked_for_ever(
    gateway, http, engine, kit
) -> None:
    async def reset(request: Any) -> None:
        request.reset()

    engine.behave = reset
    gateway.route(_warm(kit, engine))
    response = await http.post(gateway.url + CHAT, json=ASK)

    assert (response.status, (await response.json())["error"]["code"]) == (
        503,
        "engine_unavailable",
    )
    assert len(engine.received) == 3


async def test_a_model_that_is_deleted_answers_those_who_wait(gateway, http, kit) -> None:
    gateway.route(COLD)
    asking = _post(http, gateway, ASK)
    await _held(kit, gateway)
    gateway.route()
    response = await asking

    assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")


async def test_a_gateway_that_leaves_sends_those_who_wait_to_another(gateway, http, kit) -> None:
    gateway.route(COLD)
    asking = _post(http, gateway, ASK)
    await _held(kit, gateway)
    gateway.queues.close()
    response = await asking

    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert (await response.json())["error"]["code"] == "gateway_leaving"


async def test_bodies_that_wait_are_counted_in_bytes(gateway, http, kit) -> None:
    gateway.route(COLD)
    asking = _post(http, gateway, ASK | {"user": "x" * 1000})
    await _held(kit, gateway)
    size = gateway.queues.whole.size
    asking.cancel()

    assert 1000 < size < 1100


async def test_an_error_after_comments_that_is_too_large_is_cut_and_never_looks_whole(
    gateway, http, engine, kit
) -> None:
    engine.behave = lambda request: request.reply(400, {"error": {"message": "a" * 2**20}})
    gateway.route(COLD)
    response = await http.post(gateway.url + CHAT, json=STREAM)
    await response.content.readuntil(b"\n\n")
    gateway.route(_warm(kit, engine))

    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


async def test_where_nothing_is_streamed_nobody_gets_comments(gateway, http, engine, kit) -> None:
    gateway.route(COLD)
    asking = _post(http, gateway, STREAM, "/v1/embeddings")
    await _held(kit, gateway)
    await asyncio.sleep(0.3)  # three times the time after which a stream begins
    gateway.route(_warm(kit, engine))
    response = await asking

    assert await response.json() == kit.completion()


@pytest.mark.parametrize("document", [ASK, STREAM])
async def test_a_request_that_is_held_again_says_once_how_long(
    gateway, http, engine, kit, document
) -> None:
    async def busy(request: Any) -> None:
        if len(engine.received) > 2:
            engine.behave = _text
        await request.reply(503)

    engine.behave = busy
    gateway.route(COLD)
    asking = _post(http, gateway, document)
    await _held(kit, gateway)
    gateway.route(_warm(kit, engine))
    response = await asking

    assert len(response.headers.getall("x-berth-held-seconds")) == 1
    assert (await response.read()).endswith(b"data: first\n\ndata: [DONE]\n\n")
