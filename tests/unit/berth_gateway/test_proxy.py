"""Between the gateway and engines: bytes, retries, and ends that come too early."""

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest

from berth_gateway.routing.snapshot import Endpoint, Model

CHAT = "/v1/chat/completions"
BODY = b'{"model": "llama",  "messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}]}'


def _unused_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def _first_refuses(engine: Any, name: str = "llama") -> Model:
    """A model whose first endpoint, by turn, has nothing listening."""
    gone, here = (Endpoint(key=url, url=url, name=url) for url in (_unused_url(), engine.url))
    return Model(key="1", name=name, endpoints=(gone, here))


async def test_a_body_for_the_engines_own_name_arrives_byte_by_byte(
    gateway, http, engine, kit
) -> None:
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + CHAT, data=BODY)

    assert (await response.json()) == kit.completion()
    assert engine.received[0].body == BODY
    assert engine.received[0].line == f"POST {CHAT} HTTP/1.1"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
async def test_each_path_on_the_list_arrives_as_it_is(gateway, http, engine, kit, path) -> None:
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + path + "?api_key=x", data=BODY)

    assert response.status == 200
    assert engine.received[0].line == f"POST {path} HTTP/1.1"


@pytest.mark.parametrize("name", ["gpt-4", "gpt-4:latest", "llama:latest"])
async def test_an_alias_is_replaced_by_the_engines_name(gateway, http, engine, kit, name) -> None:
    gateway.route(kit.at(engine, aliases=("gpt-4",)))
    await http.post(gateway.url + CHAT, data=b'{ "model" :"%b" , "n": 1 }' % name.encode())

    assert engine.received[0].body == b'{ "model" :"llama" , "n": 1 }'


async def test_the_engine_sees_its_own_key_and_nothing_of_the_clients(
    gateway, http, engine, kit
) -> None:
    gateway.route(kit.at(engine, engine_key="engine-key"))
    sent = {"cookie": "a=b", "x-forwarded-for": "1.2.3.4", "traceparent": "00-aa-bb-01"}
    await http.post(gateway.url + CHAT, data=BODY, headers=sent)
    headers = engine.received[0].headers

    assert headers["authorization"] == "Bearer engine-key"
    assert headers["traceparent"] == "00-aa-bb-01"
    assert not {"cookie", "x-forwarded-for"} & set(headers)
    assert kit.api_key not in str(headers)


async def test_without_an_engine_key_no_authorization_is_sent(gateway, http, engine, kit) -> None:
    gateway.route(kit.at(engine))
    await http.post(gateway.url + CHAT, data=BODY)

    assert "authorization" not in engine.received[0].headers


def _sharing(*engines: Any, name: str = "llama", **more: Any) -> Model:
    """A pool's model: each engine has a name for it, and a key, of its own."""
    endpoints = tuple(
        Endpoint(one.url, one.url, "pod", served_model=f"a{number}", engine_key=f"key-{number}")
        for number, one in enumerate(engines)
    )
    return Model(key=f"uid-{name}", name=name, engine_key="its own", endpoints=endpoints, **more)


def _tells(name: str, *, streams: bool = False) -> Any:
    """An engine's answer as vLLM writes it, in pieces that cut its name for the model."""
    text = b'{"object":"x","model":"%b","usage":null}' % name.encode()

    async def reply(request: Any) -> None:
        if streams:
            await request.start_stream()
            for part in (b"data: " + text[:22], text[22:] + b"\n\n", b"data: " + text + b"\n\n"):
                await request.piece(part)
                await asyncio.sleep(0.01)  # or they would be read as one
            await request.end_stream()
            return
        length = {"content-type": "application/json", "content-length": str(len(text))}
        await request.head(200, length)
        request.writer.write(text)

    return reply


async def test_a_shared_engine_gets_its_own_name_and_key_and_the_client_the_models(
    gateway, http, engine
) -> None:
    engine.behave = _tells("a0")
    gateway.route(_sharing(engine, aliases=("gpt-4",)))
    response = await http.post(gateway.url + CHAT, data=b'{"model":"gpt-4","n":1}')

    assert await response.json() == {"object": "x", "model": "llama", "usage": None}
    assert engine.received[0].body == b'{"model":"a0","n":1}'
    assert engine.received[0].headers["authorization"] == "Bearer key-0"


async def test_a_shared_engines_stream_tells_the_models_name_however_it_is_cut(
    gateway, http, engine
) -> None:
    engine.behave = _tells("a0", streams=True)
    gateway.route(_sharing(engine))
    response = await http.post(gateway.url + CHAT, data=b'{"model":"llama","stream":true}')
    text = await response.text()

    assert text.count('"model":"llama"') == 2
    assert "a0" not in text
    assert text.endswith("data: [DONE]\n\n")


async def test_each_try_is_named_for_the_engine_that_it_goes_to(gateway, http, engines) -> None:
    busy, idle = await engines(), await engines()
    busy.behave = lambda request: request.reply(429, {})
    idle.behave = _tells("a1")
    model = _sharing(busy, idle)
    gateway.route(model)
    gateway.load.enter(model.endpoints[1].key)
    response = await http.post(gateway.url + CHAT, data=BODY)

    assert (await response.json())["model"] == "llama"
    sent = [(one.body, one.headers["authorization"]) for one in busy.received + idle.received]
    assert sent == [
        (BODY.replace(b'"llama"', b'"a0"'), "Bearer key-0"),
        (BODY.replace(b'"llama"', b'"a1"'), "Bearer key-1"),
    ]


async def test_models_that_share_an_engine_are_each_told_by_their_own_name(
    gateway, http, engine
) -> None:
    engine.behave = _tells("a0")
    gateway.route(_sharing(engine), _sharing(engine, name="terse"))
    answers = [
        await http.post(gateway.url + CHAT, data=b'{"model":"%b"}' % name)
        for name in (b"llama", b"terse")
    ]

    assert [(await one.json())["model"] for one in answers] == ["llama", "terse"]


async def test_a_form_for_a_shared_engine_is_named_too(gateway, http, engine) -> None:
    gateway.route(_sharing(engine))
    form = aiohttp.FormData({"model": "llama"}, default_to_multipart=True)
    response = await http.post(gateway.url + "/v1/audio/transcriptions", data=form)

    assert response.status == 200
    assert b"\r\n\r\na0\r\n" in engine.received[0].body


async def test_an_engine_that_is_lost_in_a_shared_stream_is_told_as_any(
    gateway, http, engine
) -> None:
    async def dies(request: Any) -> None:
        await request.start_stream()
        await request.piece(b'data: {"model":"a0"}\n\ndata: {"mod')
        await asyncio.sleep(0.05)
        request.reset()

    engine.behave = dies
    gateway.route(_sharing(engine))
    response = await http.post(gateway.url + CHAT, data=b'{"model":"llama","stream":true}')
    text = await response.text()

    assert text.startswith('data: {"model":"llama"}\n\n')
    assert "the engine stopped before the answer was complete" in text


@pytest.mark.parametrize("status", [400, 404, 422, 500])
async def test_an_engines_own_error_passes_unchanged_and_is_not_retried(
    gateway, http, engines, kit, status
) -> None:
    first, second = await engines(), await engines()
    for one in (first, second):
        one.behave = lambda request: request.reply(status, {"error": {"message": "mine"}})
    gateway.route(kit.at(first, second))
    response = await http.post(gateway.url + CHAT, data=BODY)

    assert (response.status, await response.json()) == (status, {"error": {"message": "mine"}})
    assert len(first.received) + len(second.received) == 1


async def test_a_redirect_of_an_engine_is_not_followed(gateway, http, engine, kit) -> None:
    engine.behave = lambda request: request.reply(307, {}, {"location": "http://example.test/"})
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + CHAT, data=BODY, allow_redirects=False)

    assert response.status == 307


async def test_a_refused_connection_is_retried_elsewhere_and_ejects(gateway, http, engine) -> None:
    gateway.route(_first_refuses(engine))
    answers = [await http.post(gateway.url + CHAT, data=BODY) for _ in range(4)]

    assert [one.status for one in answers] == [200] * 4
    failures = "berth_gateway_upstream_failures_total"
    assert gateway.sample(failures, namespace="", model="llama", reason="connect") == 1


async def test_a_reset_before_the_first_byte_is_retried_elsewhere(
    gateway, http, engines, kit
) -> None:
    broken, sound = await engines(), await engines()

    async def reset(request: Any) -> None:
        request.reset()

    broken.behave = reset
    gateway.route(kit.at(broken, sound))
    answers = [await http.post(gateway.url + CHAT, data=BODY) for _ in range(2)]

    assert [one.status for one in answers] == [200, 200]
    assert len(broken.received) >= 1


async def test_a_reset_after_the_header_but_before_the_body_is_retried_too(
    gateway, http, engines, kit
) -> None:
    broken, sound = await engines(), await engines()

    async def reset(request: Any) -> None:
        await request.start_stream()
        await request.writer.drain()
        request.writer.close()

    broken.behave = reset
    gateway.route(kit.at(broken, sound))
    answers = [await http.post(gateway.url + CHAT, data=BODY) for _ in range(2)]

    assert [one.status for one in answers] == [200, 200]


async def test_a_stale_connection_of_the_only_endpoint_is_replaced(
    gateway, http, engine, kit
) -> None:
    gateway.route(kit.at(engine))

    async def once(request: Any) -> None:
        engine.behave = type(request).reply
        request.reset()

    engine.behave = once
    response = await http.post(gateway.url + CHAT, data=BODY)

    assert response.status == 200
    assert len(engine.received) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_endpoint_passes_the_request_to_the_next(
    gateway, http, engines, kit, status
) -> None:
    busy, idle = await engines(), await engines()
    busy.behave = lambda request: request.reply(status, {}, {"retry-after": "7"})
    gateway.route(kit.at(busy, idle))
    answers = [await http.post(gateway.url + CHAT, data=BODY) for _ in range(4)]

    assert [one.status for one in answers] == [200] * 4
    assert gateway.load.ejected() == frozenset()


async def test_a_busy_endpoint_is_not_asked_twice_however_little_it_has_in_flight(
    gateway, http, engines, kit
) -> None:
    busy, loaded = await engines(), await engines()
    busy.behave = lambda request: request.reply(429, {})
    model = kit.at(busy, loaded)
    gateway.route(model)
    gateway.load.enter(model.endpoints[1].key)
    response = await http.post(gateway.url + CHAT, data=BODY)

    assert response.status == 200
    assert len(busy.received) == 1


async def test_an_engine_that_refuses_our_key_is_not_the_clients_fault(
    gateway, http, engine, kit
) -> None:
    engine.behave = lambda request: request.reply(401, {"error": "Unauthorized"})
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + CHAT, data=BODY)

    assert response.status == 500
    assert (await response.json())["error"]["code"] == "engine_key_refused"


async def test_a_stream_passes_chunk_by_chunk_while_it_is_made(gateway, http, engine, kit) -> None:
    gateway.route(kit.at(engine))
    go_on = asyncio.Event()

    async def stream(request: Any) -> None:
        await request.start_stream()
        await request.event("first")
        await go_on.wait()
        await request.event("second")
        await request.end_stream()

    engine.behave = stream
    response = await http.post(gateway.url + CHAT, data=BODY)
    first = await response.content.readany()
    go_on.set()
    rest = await response.read()

    assert first == b"data: first\n\n"
    assert first + rest == b"data: first\n\ndata: second\n\ndata: [DONE]\n\n"
    assert response.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(b"data: 1\n\n", b"data: 1\n\ndata: ", id="between events"),
        pytest.param(b'data: {"a', b'data: {"a\n\ndata: ', id="inside an event"),
    ],
)
async def test_a_stream_that_loses_its_engine_ends_with_an_error_and_no_done(
    gateway, http, engine, kit, last, expected
) -> None:
    async def die(request: Any) -> None:
        await request.start_stream()
        await request.piece(last)
        request.writer.close()

    engine.behave = die
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + CHAT, data=BODY)
    text = await response.read()

    assert text.startswith(expected)
    error = json.loads(text.removeprefix(expected))["error"]
    assert (error["type"], error["code"]) == ("server_error", "engine_disconnected")
    assert b"[DONE]" not in text
    failures = "berth_gateway_upstream_failures_total"
    assert gateway.sample(failures, namespace="", model="llama", reason="mid_stream") == 1


async def test_an_engine_that_falls_silent_in_its_answer_is_lost_and_left(
    gateways, http, engine, kit
) -> None:
    async def hang(request: Any) -> None:
        await request.start_stream()
        await request.event("first")
        await request.reader.readexactly(1)  # ends when the gateway closes the connection

    engine.behave = hang
    gateway = await gateways(idle_seconds=0)
    gateway.route(kit.at(engine))
    text = await (await http.post(gateway.url + CHAT, data=BODY)).read()

    assert text.startswith(b"data: first\n\ndata: ")
    assert b"engine_disconnected" in text
    await asyncio.wait_for(engine.left.wait(), 1)
    await kit.until(lambda: not gateway.load.in_flight)


async def test_each_try_has_an_id_of_its_own_that_begins_with_the_clients(
    gateway, http, engine, kit
) -> None:
    async def once(request: Any) -> None:
        engine.behave = type(request).reply
        request.reset()

    engine.behave = once
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + CHAT, data=BODY, headers={"x-request-id": "mine"})
    seen = [one.headers["x-request-id"] for one in engine.received]

    assert len(set(seen)) == 2
    assert all(one.startswith("mine-") for one in seen)
    assert response.headers["x-request-id"] == "mine"


@pytest.mark.parametrize("framing", [{"content-length": "50"}, {"transfer-encoding": "chunked"}])
async def test_another_answer_that_loses_its_engine_is_cut_and_never_looks_whole(
    gateway, http, engine, kit, framing
) -> None:
    async def die(request: Any) -> None:
        await request.head(200, {"content-type": "application/json"} | framing)
        if "content-length" in framing:
            request.writer.write(b'{"half":')
        else:
            await request.piece(b'{"half":')
        await request.writer.drain()
        request.writer.close()

    engine.behave = die
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + CHAT, data=BODY)
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


@pytest.mark.parametrize("streaming", [True, False], ids=["in a stream", "while waiting"])
async def test_when_the_client_leaves_the_engine_is_left_within_a_second(
    gateway, engine, kit, streaming
) -> None:
    asked = asyncio.Event()

    async def never_ends(request: Any) -> None:
        if streaming:
            await request.start_stream()
            await request.event("first")
        asked.set()
        await request.reader.readexactly(1)  # ends when the gateway closes the connection

    engine.behave = never_ends
    gateway.route(kit.at(engine))
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n"
        b"authorization: Bearer %s\r\n\r\n" % (len(BODY), kit.api_key.encode()) + BODY
    )
    await asyncio.wait_for(asked.wait(), 5)
    assert gateway.load.in_flight == {engine.url: 1}
    writer.close()

    await asyncio.wait_for(engine.left.wait(), 1)
    await kit.until(lambda: not gateway.load.in_flight)
    count = "berth_gateway_requests_total"
    assert gateway.sample(count, namespace="", model="llama", code="499") == 1


async def test_connections_to_an_engine_are_used_again(gateway, http, engine, kit) -> None:
    gateway.route(kit.at(engine))
    for _ in range(5):
        await (await http.post(gateway.url + CHAT, data=BODY)).read()

    assert engine.connections == 1


async def test_requests_go_to_the_endpoint_with_fewer_in_flight(
    gateway, http, engines, kit
) -> None:
    slow, fast = await engines(), await engines()
    gateway.route(kit.at(slow, fast))
    gateway.load.enter(gateway.board.snapshot.models[0].endpoints[0].key)
    for _ in range(4):
        await http.post(gateway.url + CHAT, data=BODY)

    assert (len(slow.received), len(fast.received)) == (0, 4)


async def test_a_snapshot_that_changes_does_not_disturb_a_request_on_its_way(
    gateway, http, engine, kit
) -> None:
    go_on = asyncio.Event()

    async def wait(request: Any) -> None:
        await go_on.wait()
        await request.reply()

    engine.behave = wait
    gateway.route(kit.at(engine))
    asking = asyncio.create_task(http.post(gateway.url + CHAT, data=BODY))
    await kit.until(lambda: engine.received)
    gateway.route()
    assert gateway.load.in_flight == {engine.url: 1}
    go_on.set()

    assert (await asking).status == 200
    assert gateway.load.in_flight == {}


async def test_an_endpoint_that_resets_is_not_asked_again_while_there_is_another(
    gateway, http, engines, kit
) -> None:
    broken, sound = await engines(), await engines()

    async def reset(request: Any) -> None:
        request.reset()

    broken.behave = reset
    gateway.route(kit.at(broken, sound))
    gateway.load.enter(sound.url)  # so the broken one, which has nothing to do, comes first
    response = await http.post(gateway.url + CHAT, data=BODY)

    assert response.status == 200
    assert len(broken.received) == 1


async def test_when_all_have_reset_they_are_asked_again(gateway, http, engines, kit) -> None:
    both = await engines(), await engines()

    def once(engine: Any) -> Any:
        async def reset(request: Any) -> None:
            engine.behave = type(request).reply
            request.reset()

        return reset

    for one in both:
        one.behave = once(one)
    gateway.route(kit.at(*both))
    response = await http.post(gateway.url + CHAT, data=BODY)

    assert response.status == 200
    assert {1, 2} == {len(one.received) for one in both}
    assert "x-berth-held-seconds" not in response.headers  # there was nothing to wait for


async def test_a_refusal_in_a_stream_that_does_not_end_is_passed_to_the_next_at_once(
    gateway, http, engines, kit
) -> None:
    busy, sound = await engines(), await engines()

    async def refuse(request: Any) -> None:
        await request.start_stream()
        await request.event({"error": {"code": 503, "message": "full"}})
        await request.reader.readexactly(1)  # ends when the gateway closes the connection

    busy.behave = refuse
    gateway.route(kit.at(busy, sound))
    gateway.load.enter(sound.url)  # so the busy one comes first
    async with asyncio.timeout(2):
        response = await http.post(gateway.url + CHAT, data=BODY)

    assert response.status == 200
    await asyncio.wait_for(busy.left.wait(), 1)
