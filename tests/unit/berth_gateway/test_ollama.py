"""Ollama's paths on the gateway, as Ollama's own Python client and plain HTTP see them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import ollama
import pytest

from berth_gateway.routing.keep_alive import FOREVER
from berth_gateway.routing.snapshot import Facts, Model
from berth_gateway.settings import AuthMode, Limits
from berth_gateway.world.keys import plain

CHAT, GENERATE, EMBED = "/api/chat", "/api/generate", "/api/embed"
QUESTION: Any = [{"role": "user", "content": "Where is the Louvre?"}]
ASK = {"model": "llama", "messages": QUESTION}
COLD = Model(key="uid-llama", name="llama", namespace="team")
BUSY = {"error": "server busy, please try again.  maximum pending requests exceeded"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
FILES = [("POST", "/api/push"), ("HEAD", "/api/blobs/sha256:0"), ("POST", "/api/blobs/sha256:0")]


def _event(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


async def _stream(request: Any, *events: Any) -> None:
    await request.start_stream()
    for event in events:
        await request.event(event)
        await asyncio.sleep(0)
    await request.event({"choices": [], "usage": USAGE})
    await request.end_stream()


async def say_paris(request: Any) -> None:
    await _stream(
        request,
        _event(role="assistant", content=""),
        _event(content="Par"),
        _event(content="is"),
        END,
    )


@pytest.fixture
def paris(gateway, engine, kit) -> Any:
    engine.behave = say_paris
    gateway.route(kit.at(engine))
    return engine


@pytest.fixture
async def client(gateway, kit) -> AsyncIterator[ollama.AsyncClient]:
    headers = {"authorization": f"Bearer {kit.api_key}"}
    async with ollama.AsyncClient(host=gateway.url, headers=headers) as client:
        yield client


def _asked(engine: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.received[-1].body)
    return found


async def test_a_chat_in_one_piece(client, paris) -> None:
    answer = await client.chat("llama:latest", QUESTION, options={"num_predict": 9})

    assert answer.message.content == "Paris"
    assert (answer.done, answer.done_reason, answer.model) == (True, "stop", "llama:latest")
    assert (answer.prompt_eval_count, answer.eval_count) == (5, 2)
    assert answer.total_duration >= answer.eval_duration > 0
    assert _asked(paris)["model"] == "llama"
    assert _asked(paris)["max_tokens"] == 9


async def test_a_chat_line_by_line(client, paris) -> None:
    lines = [line async for line in await client.chat("llama", QUESTION, stream=True)]

    assert [line.message.content for line in lines] == ["Par", "is", ""]
    assert [line.done for line in lines] == [False, False, True]


async def test_a_prompt(client, paris) -> None:
    answer = await client.generate("llama", "Where?", system="Be brief.")

    assert answer.response == "Paris"
    assert [one["role"] for one in _asked(paris)["messages"]] == ["system", "user"]


async def test_a_raw_prompt(client, paris) -> None:
    async def complete(request: Any) -> None:
        await _stream(request, {"choices": [{"text": "Paris", "finish_reason": "length"}]})

    paris.behave = complete
    answer = await client.generate("llama", "The Louvre is in", raw=True)

    assert (answer.response, answer.done_reason) == ("Paris", "length")
    assert paris.received[0].line == "POST /v1/completions HTTP/1.1"


async def test_a_tool_is_called_and_its_result_is_taken_back(client, paris) -> None:
    def weather(city: str) -> str:
        """How it is there."""
        return city

    async def call(request: Any) -> None:
        function = {"name": "weather", "arguments": '{"city": "Paris"}'}
        await _stream(
            request, _event(tool_calls=[{"index": 0, "id": "c", "function": function}]), END
        )

    paris.behave = call
    answer = await client.chat("llama", QUESTION, tools=[weather])
    (asked,) = answer.message.tool_calls
    assert (asked.function.name, asked.function.arguments) == ("weather", {"city": "Paris"})
    assert _asked(paris)["tools"][0]["function"]["name"] == "weather"

    paris.behave = say_paris
    result = {"role": "tool", "tool_name": "weather", "content": "11 degrees"}
    await client.chat("llama", [*QUESTION, answer.message, result])
    *_, told, taken = _asked(paris)["messages"]
    assert told["tool_calls"][0]["id"] == taken["tool_call_id"]


async def test_what_a_model_thinks_is_told_apart(client, paris) -> None:
    async def think(request: Any) -> None:
        await _stream(request, _event(reasoning="Hm"), _event(content="4"), END)

    paris.behave = think
    answer = await client.chat("llama", QUESTION, think=True)

    assert (answer.message.thinking, answer.message.content) == ("Hm", "4")
    assert _asked(paris)["chat_template_kwargs"]["enable_thinking"] is True


async def test_texts_are_embedded(client, paris) -> None:
    rows = [{"embedding": [0.5, 1.0]}, {"embedding": [2, 3]}]
    paris.behave = lambda request: request.reply(200, {"data": rows, "usage": USAGE})
    answer = await client.embed("llama", ["a", "b"])
    assert answer.embeddings == [[0.5, 1.0], [2, 3]]
    assert answer.prompt_eval_count == 5

    paris.behave = lambda request: request.reply(200, {"data": rows[:1], "usage": USAGE})
    assert (await client.embeddings("llama", "a")).embedding == [0.5, 1.0]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_that_dies_is_never_an_answer_that_is_done(
    gateway, http, paris, stream
) -> None:
    async def die(request: Any) -> None:
        await request.start_stream()
        await request.event(_event(content="Par"))
        await request.piece(b'data: {"choi')
        await asyncio.sleep(0.05)
        request.reset()

    paris.behave = die
    response = await http.post(gateway.url + CHAT, json=ASK | {"stream": stream})
    lines = [json.loads(line) for line in (await response.text()).splitlines()]

    assert response.status == (200 if stream else 500)
    assert lines[-1] == {"error": "the engine stopped before the answer was complete"}
    assert not any(line.get("done") for line in lines)


async def test_the_official_client_raises_when_the_engine_dies(client, paris) -> None:
    async def fail(request: Any) -> None:
        error = {"error": {"message": "EngineCore encountered an issue", "code": 500}}
        await _stream(request, _event(content="Par"), error)

    paris.behave = fail
    with pytest.raises(ollama.ResponseError, match="EngineCore"):
        [line async for line in await client.chat("llama", QUESTION, stream=True)]
    with pytest.raises(ollama.ResponseError, match="EngineCore") as refused:
        await client.chat("llama", QUESTION)
    assert refused.value.status_code == 500


async def test_embeddings_that_break_off_are_no_document(gateway, http, paris) -> None:
    async def die(request: Any) -> None:
        await request.head(200, {"content-type": "application/json", "content-length": "999"})
        request.writer.write(b'{"data": [{"embedding": [1]}, {"emb')
        await request.writer.drain()
        await asyncio.sleep(0.05)
        request.reset()

    paris.behave = die
    with pytest.raises(Exception, match="payload"):
        await (
            await http.post(gateway.url + EMBED, json={"model": "llama", "input": ["a", "b"]})
        ).read()


@pytest.mark.parametrize(
    ("status", "document", "told", "words"),
    [
        (400, {"error": {"message": "too long"}}, 400, "too long"),
        (404, {"detail": "Not Found"}, 400, '"llama" does not support chat'),
        (500, {}, 500, "the engine answered with status 500"),
    ],
)
async def test_an_engines_error_is_told_in_ollamas_shape(
    gateway, http, paris, status, document, told, words
) -> None:
    paris.behave = lambda request: request.reply(status, document)
    response = await http.post(gateway.url + CHAT, json=ASK)

    assert (response.status, await response.json()) == (told, {"error": words})


@pytest.mark.parametrize("path", [CHAT, GENERATE, EMBED, "/api/embeddings", "/api/show"])
async def test_a_model_that_nobody_knows_is_not_found(gateway, http, path) -> None:
    response = await http.post(gateway.url + path, json={"model": "nope:7b"})

    assert response.status == 404
    assert await response.json() == {"error": "model 'nope:7b' not found"}


async def test_a_full_queue_is_said_in_the_words_that_clients_know(gateway, http) -> None:
    gateway.route(replace(COLD, max_pending=0))
    response = await http.post(gateway.url + CHAT, json=ASK)

    assert (response.status, await response.json()) == (503, BUSY)
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b"{", "not valid JSON"),
        (b'{"model": ""}', "model is required"),
        (b'{"model": "llama", "keep_alive": "soon"}', "keep_alive is 'soon'"),
    ],
)
async def test_bad_input_is_a_bad_request(gateway, http, paris, body, words) -> None:
    response = await http.post(gateway.url + CHAT, data=body)

    assert response.status == 400
    assert words in (await response.json())["error"]


async def test_limits_hold_as_they_do_for_openais_requests(gateways, http, engine, kit) -> None:
    gateway = await gateways(Limits(media_parts=1, output_tokens=10, body_bytes=2000))
    gateway.route(kit.at(engine))
    image = base64.b64encode(b"GIF89a").decode()
    asked = [
        ASK | {"messages": [{"role": "user", "images": [image, image]}]},
        ASK | {"options": {"num_predict": 11}},
        ASK | {"padding": "x" * 2000},
        ASK | {"format": {"a": [[[[]]]]}, "options": {"stop": "a"}},
    ]
    statuses = [(await http.post(gateway.url + CHAT, json=one)).status for one in asked]

    assert statuses == [400, 400, 413, 400]
    assert engine.received == []


async def test_a_key_sees_and_asks_only_what_it_is_for(gateway, http, paris, kit) -> None:
    both = kit.at(paris), kit.at(paris, name="private")
    gateway.route(*both)
    gateway.board.admit_keys([replace(plain("key-1", kit.api_key), models=("llama",))])
    tags = await (await http.get(gateway.url + "/api/tags")).json()
    running = await (await http.get(gateway.url + "/api/ps")).json()
    refused = await http.post(gateway.url + CHAT, json=ASK | {"model": "private"})

    assert [one["name"] for one in tags["models"]] == ["llama:latest"]
    assert [one["name"] for one in running["models"]] == ["llama:latest"]
    assert refused.status == 404


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/api/tags"), ("POST", CHAT), ("POST", "/api/pull")]
)
async def test_without_a_key_nothing_is_served(gateway, http, method, path) -> None:
    wrong = {"authorization": "Bearer wrong"}
    response = await http.request(method, gateway.url + path, headers=wrong)

    assert response.status == 401
    assert set(await response.json()) == {"error"}


async def test_a_keys_rate_counts_what_engines_work_for(gateway, http, paris, kit) -> None:
    key = replace(plain("key-1", kit.api_key), requests_per_minute=1)
    gateway.board.admit_keys([key])
    listed = [(await http.get(gateway.url + "/api/tags")).status for _ in range(3)]
    asked = [(await http.post(gateway.url + CHAT, json=ASK)).status for _ in range(2)]

    assert (listed, asked) == ([200] * 3, [200, 429])


@pytest.mark.parametrize(("path", "more"), [(CHAT, {}), (GENERATE, {}), (EMBED, {})])
async def test_a_model_is_loaded_by_asking_it_nothing(
    gateway, http, engine, kit, path, more
) -> None:
    gateway.route(COLD)
    asking = asyncio.create_task(
        http.post(gateway.url + path, json={"model": "llama", "keep_alive": "1h"})
    )
    await kit.until(lambda: gateway.queues.whole.requests == 1)
    gateway.route(replace(COLD, endpoints=kit.at(engine).endpoints))
    document = await (await asking).json()

    assert document.get("done_reason") == ("load" if path != EMBED else None)
    assert engine.received == []
    assert gateway.queues.lines[COLD.key].residency.asked == 3600


async def test_a_model_that_is_up_is_loaded_at_once(client, paris) -> None:
    assert (await client.generate("llama")).done_reason == "load"
    assert (await client.chat("llama", [])).done_reason == "load"
    assert paris.received == []


@pytest.mark.parametrize("path", [CHAT, GENERATE])
async def test_a_model_is_unloaded_at_once(gateway, http, paris, path) -> None:
    asked = {"model": "llama", "keep_alive": 0}
    document = await (await http.post(gateway.url + path, json=asked)).json()
    line = gateway.queues.lines["uid-llama"]

    assert (document["done"], document["done_reason"]) == (True, "unload")
    assert line.residency.asked == 0
    assert line.arrivals == 0


async def test_nothing_is_unloaded_where_nothing_is_loaded(gateway, http) -> None:
    gateway.route(COLD)
    asked = {"model": "llama", "keep_alive": 0}
    document = await (await http.post(gateway.url + GENERATE, json=asked)).json()

    assert document["done_reason"] == "unload"
    assert gateway.queues.lines[COLD.key].residency.asked is None


async def test_the_last_request_says_how_long_and_openais_may_only_ask_for_longer(
    gateway, http, engine, kit
) -> None:
    engine.behave = say_paris
    gateway.route(kit.at(engine, keep_alive_seconds=300.0))
    residency = gateway.queues.lines["uid-llama"].residency
    openai = "/v1/chat/completions"
    steps = [
        (CHAT, {"keep_alive": "10m"}, 600.0),
        (openai, {}, 600.0),
        (openai, {"ttl": 60}, 600.0),
        (openai, {"keep_alive": "20m"}, 1200.0),
        (CHAT, {"keep_alive": 5}, 5.0),
        (openai, {"ttl": -1}, FOREVER),
        (CHAT, {}, None),
        (openai, {"ttl": 60}, None),  # the model's own is longer
    ]
    for path, more, asked in steps:
        await (await http.post(gateway.url + path, json=ASK | more)).read()
        assert residency.asked == asked, (path, more)

    sent = ASK | {"ttl": 60}
    assert engine.received[-1].body == json.dumps(sent).encode()


async def test_openais_requests_are_refused_a_time_that_is_none(gateway, http, paris) -> None:
    response = await http.post(gateway.url + "/v1/completions", json=ASK | {"ttl": "soon"})
    assert (response.status, (await response.json())["error"]["param"]) == (400, "ttl")


async def test_a_held_request_hears_nothing_until_there_is_an_answer(
    gateway, http, engine, kit
) -> None:
    engine.behave = say_paris
    gateway.route(COLD)
    asking = asyncio.create_task(http.post(gateway.url + CHAT, json=ASK))
    await kit.until(lambda: gateway.queues.whole.requests == 1)
    await asyncio.sleep(0.25)  # after two comments of OpenAI's streams
    assert not asking.done()
    gateway.route(replace(COLD, endpoints=kit.at(engine).endpoints))
    lines = [json.loads(line) for line in (await (await asking).text()).splitlines()]

    assert lines[-1]["done"]
    assert lines[-1]["load_duration"] >= 200_000_000
    assert lines[-1]["total_duration"] >= lines[-1]["load_duration"]


async def test_a_client_that_leaves_closes_the_engine(gateway, http, paris) -> None:
    async def never_ends(request: Any) -> None:
        await request.start_stream()
        await request.event(_event(content="Par"))
        await request.reader.readexactly(1)

    paris.behave = never_ends
    response = await http.post(gateway.url + CHAT, json=ASK)
    await response.content.readline()
    response.close()
    async with asyncio.timeout(3):
        await paris.left.wait()


async def test_a_longer_context_than_there_is_is_answered_with_what_there_is(
    gateway, http, engine, kit
) -> None:
    engine.behave = say_paris
    gateway.route(kit.at(engine, facts=Facts(context=4096)))
    for asked, told in ((4096, None), (8192, "4096")):
        response = await http.post(gateway.url + CHAT, json=ASK | {"options": {"num_ctx": asked}})
        assert response.status == 200
        assert response.headers.get("x-berth-context-length") == told


async def test_what_clients_look_for_first(gateway, http) -> None:
    root = await http.get(gateway.url + "/")
    head = await http.head(gateway.url + "/")
    version = await (await http.get(gateway.url + "/api/version")).json()

    assert (await root.text(), head.status) == ("Ollama is running", 200)
    assert (await http.head(gateway.url + "/api/version")).status == 200
    assert [int(one) for one in version["version"].split(".")]


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/api/tags", "application/json; charset=utf-8"), ("/v1/models", "application/json")],
)
async def test_a_list_has_the_content_type_of_its_own_api(
    gateway, http, path, content_type
) -> None:
    response = await http.get(gateway.url + path)

    assert (response.status, response.headers["content-type"]) == (200, content_type)


async def test_the_official_client_reads_the_lists(gateway, client, engine, kit) -> None:
    facts = Facts(commit="c0ffee", context=4096, architecture="qwen3", memory_bytes=7)
    gateway.route(kit.at(engine, facts=facts, keep_alive_seconds=300.0))
    (listed,) = (await client.list()).models
    (running,) = (await client.ps()).models
    shown = await client.show("llama:latest")

    assert listed.model == running.model == "llama:latest"
    assert (running.context_length, running.size) == (4096, 7)
    assert shown.modelinfo["qwen3.context_length"] == 4096
    assert shown.capabilities == ["completion"]


@pytest.mark.parametrize(("method", "path"), FILES)
async def test_files_are_neither_taken_nor_given(gateway, http, method, path) -> None:
    response = await http.request(method, gateway.url + path)

    assert response.status == 501
    if method != "HEAD":
        assert "fetched from a hub" in (await response.json())["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("POST", "/", 405),
        ("POST", "/api/tags", 405),
        ("GET", "/api/me", 404),
        ("POST", "/api/", 404),
    ],
)
async def test_other_paths_and_methods_are_refused_in_ollamas_shape(
    gateway, http, method, path, status
) -> None:
    response = await http.request(method, gateway.url + path)

    assert response.status == status
    assert isinstance((await response.json())["error"], str)


async def test_without_authentication_nobody_needs_a_key(gateways, engine, kit) -> None:
    gateway = await gateways(auth=AuthMode.NONE)
    engine.behave = say_paris
    gateway.route(kit.at(engine))
    async with ollama.AsyncClient(host=gateway.url) as client:
        assert (await client.chat("llama", QUESTION)).message.content == "Paris"
