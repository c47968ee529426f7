"""What the engine serves beside chat: other paths, other shapes, other people's errors."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

MESSAGES = "/v1/messages"
PATHS = [
    "/v1/completions", "/v1/embeddings", "/v1/responses", MESSAGES, "/v1/rerank", "/v2/rerank",
    "/rerank", "/v1/score", "/score", "/tokenize", "/detokenize",
]  # fmt: skip
BUSY = {"error": {"message": "busy", "type": "Service Unavailable", "param": None, "code": 503}}


@pytest.mark.parametrize("path", PATHS)
async def test_each_path_arrives_as_it_is(gateway, http, engine, kit, path) -> None:
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + path, json={"model": "llama"})

    assert response.status == 200
    assert engine.received[0].line == f"POST {path} HTTP/1.1"


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations"])
async def test_a_recording_goes_on_untouched_under_the_engines_name(
    gateway, http, engine, kit, path
) -> None:
    gateway.route(kit.at(engine, aliases=("whisper-1",)))
    form = aiohttp.FormData()
    form.add_field("file", b"RIFF\x00\xff\r\n--", filename="a.wav", content_type="audio/wav")
    form.add_field("model", "whisper-1")
    response = await http.post(gateway.url + path, data=form)
    seen = engine.received[0]

    assert response.status == 200
    assert b"RIFF\x00\xff\r\n--" in seen.body
    assert b"llama" in seen.body
    assert b"whisper-1" not in seen.body
    assert seen.headers["content-type"].startswith("multipart/form-data; boundary=")


async def test_a_recording_for_no_model_is_refused(gateway, http) -> None:
    form = aiohttp.FormData({"file": "x"}, default_to_multipart=True)
    response = await http.post(gateway.url + "/v1/audio/transcriptions", data=form)

    assert (response.status, (await response.json())["error"]["param"]) == (400, "model")


async def test_anthropics_clients_send_their_key_in_a_header_of_its_own(
    gateway, engine, kit
) -> None:
    gateway.route(kit.at(engine))
    sent = {"x-api-key": kit.api_key, "anthropic-version": "2023-06-01"}
    async with aiohttp.ClientSession(headers=sent) as http:
        there = await http.post(gateway.url + MESSAGES, json={"model": "llama"})
        elsewhere = await http.post(gateway.url + "/v1/completions", json={"model": "llama"})

    assert (there.status, elsewhere.status) == (200, 401)
    assert engine.received[0].headers["anthropic-version"] == "2023-06-01"
    assert "x-api-key" not in engine.received[0].headers


@pytest.mark.parametrize(
    ("headers", "body", "status", "kind"),
    [
        ({"authorization": "Bearer wrong"}, {"model": "llama"}, 401, "authentication_error"),
        ({}, {"model": "nope"}, 404, "not_found_error"),
        ({}, {}, 400, "invalid_request_error"),
    ],
)
async def test_anthropics_clients_get_errors_that_they_know(
    gateway, http, headers, body, status, kind
) -> None:
    response = await http.post(gateway.url + MESSAGES, json=body, headers=headers)
    document = await response.json()

    assert response.status == status
    assert document["type"] == "error"
    assert document["error"]["type"] == kind
    assert set(document["error"]) == {"type", "message"}


async def test_a_lost_stream_of_theirs_ends_with_their_error_event(
    gateway, http, engine, kit
) -> None:
    async def die(request: Any) -> None:
        await request.start_stream()
        await request.piece(b"event: message_start\ndata: {}\n\n")
        request.writer.close()

    engine.behave = die
    gateway.route(kit.at(engine))
    text = await (await http.post(gateway.url + MESSAGES, json={"model": "llama"})).read()
    event, data = text.split(b"\n\n")[1].split(b"\n")

    assert event == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["error"]["type"] == "api_error"


@pytest.mark.parametrize("cut", [None, 6, 9, 40])
async def test_a_full_engine_that_says_so_in_its_stream_passes_the_request_on(
    gateway, http, engines, kit, cut
) -> None:
    full, idle = await engines(), await engines()

    async def refuse(request: Any) -> None:
        event = f"data: {json.dumps(BUSY)}\n\n".encode()
        await request.start_stream()
        for piece in (event[:cut], event[cut:]) if cut else (event,):
            await request.piece(piece)
            await asyncio.sleep(0.02)
        await request.end_stream()

    full.behave = refuse
    gateway.route(kit.at(full, idle))
    answers = [await http.post(gateway.url + "/v1/completions", json={"model": "llama"})]
    answers += [await http.post(gateway.url + "/v1/completions", json={"model": "llama"})]

    assert [one.status for one in answers] == [200, 200]
    assert [await one.json() for one in answers] == [kit.completion()] * 2
    failures = "berth_gateway_upstream_failures_total"
    assert gateway.sample(failures, namespace="", model="llama", reason="busy") == len(
        full.received
    )


@pytest.mark.parametrize("streams", [True, False])
async def test_tokens_are_counted_for_the_key_and_the_model(
    gateway, http, engine, kit, streams
) -> None:
    async def stream(request: Any) -> None:
        await request.start_stream()
        await request.event(kit.piece("Paris"))
        await request.event(kit.piece(None, usage=kit.completion()["usage"]))
        await request.end_stream()

    if streams:
        engine.behave = stream
    gateway.route(kit.at(engine, namespace="team"))
    for _ in range(2):
        await (await http.post(gateway.url + "/v1/completions", json={"model": "llama"})).read()
    labels = {"namespace": "team", "model": "llama", "key": "key-1"}
    await kit.until(lambda: gateway.sample("berth_gateway_completion_tokens_total", **labels) == 2)

    assert gateway.sample("berth_gateway_prompt_tokens_total", **labels) == 10
