"""The door: keys, paths, limits and the shape of every refusal."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from berth_api.spec import RoutingPolicy
from berth_gateway import calls
from berth_gateway.routing.snapshot import Model
from berth_gateway.settings import AuthMode, Limits

CHAT = "/v1/chat/completions"


async def _error(response: aiohttp.ClientResponse) -> dict[str, Any]:
    document = await response.json()
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "type", "param", "code"}
    return document["error"]


@pytest.mark.parametrize("key", [None, "Bearer wrong", "Bearer ", "Basic sk-berth-test"])
@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/nowhere"])
async def test_without_a_valid_key_every_path_says_401(gateway, key, path) -> None:
    headers = {"authorization": key} if key else {}
    async with aiohttp.ClientSession() as http:
        response = await http.post(gateway.url + path, headers=headers, data=b"{}")
        error = await _error(response)

    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


async def test_a_wrong_key_is_refused_before_the_body_has_been_read(gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
        b"authorization: Bearer nope\r\ncontent-length: 1000000\r\n\r\n"
    )
    head = await reader.readuntil(b"\r\n")
    writer.close()

    assert head == b"HTTP/1.1 401 Unauthorized\r\n"


async def test_with_auth_none_no_key_is_asked_for(gateways) -> None:
    gateway = await gateways(auth=AuthMode.NONE)
    async with aiohttp.ClientSession() as http:
        response = await http.get(gateway.url + "/v1/models")

    assert response.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1", "/v1/", "/metrics", "/invocations", "/v1/chat/completions/", "//v1/models",
        "/v1/load_lora_adapter", "/collective_rpc", "/V1/models", "/v1/%2e%2e/invocations",
    ],
)  # fmt: skip
async def test_paths_that_are_not_on_the_list_do_not_exist(
    gateway, http, engine, kit, path
) -> None:
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + path, json={"model": "llama"})
    error = await _error(response)

    assert (response.status, error["code"]) == (404, "unknown_url")
    assert engine.received == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CHAT, "POST"), ("DELETE", "/v1/models/llama", "GET"), ("POST", "/v1/models", "GET")],
)
async def test_another_method_is_a_405_that_names_the_right_one(
    gateway, http, method, path, allowed
) -> None:
    response = await http.request(method, gateway.url + path)
    error = await _error(response)

    assert (response.status, response.headers["allow"]) == (405, allowed)
    assert error["code"] == "method_not_supported"


async def test_an_unknown_model_is_a_404_that_lists_no_others(gateway, http, engine, kit) -> None:
    gateway.route(kit.at(engine, name="secret-project"))
    response = await http.post(gateway.url + CHAT, json={"model": "gpt-4"})
    error = await _error(response)

    assert response.status == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["message"] == "the model 'gpt-4' does not exist, or not for this API key"


async def test_a_body_that_announces_too_much_is_refused_unread(gateways, kit) -> None:
    gateway = await gateways(limits=Limits(body_bytes=1000))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n"
        b"authorization: Bearer %s\r\n\r\n" % kit.api_key.encode()
    )
    head = await reader.readuntil(b"\r\n")
    writer.close()

    assert b" 413 " in head


async def test_a_body_without_a_length_is_refused_once_it_is_too_large(gateways, http) -> None:
    gateway = await gateways(limits=Limits(body_bytes=1000))

    async def chunks() -> Any:
        for _ in range(4):
            yield b" " * 400

    response = await http.post(gateway.url + CHAT, data=chunks())
    error = await _error(response)

    assert (response.status, error["code"]) == (413, "request_too_large")


async def test_a_body_that_does_not_arrive_in_time_is_a_408(gateways, kit) -> None:
    gateway = await gateways(limits=Limits(body_seconds=0))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
        b"authorization: Bearer %s\r\n\r\n{" % kit.api_key.encode()
    )
    head = await reader.readuntil(b"\r\n")
    writer.close()

    assert b" 408 " in head


async def test_a_compressed_body_is_refused_in_words(gateway, http) -> None:
    response = await http.post(
        gateway.url + CHAT, data=b"\x1f\x8b", headers={"content-encoding": "gzip"}
    )
    error = await _error(response)

    assert (response.status, error["code"]) == (400, "unsupported_content_encoding")


async def test_every_answer_carries_the_request_id_that_the_client_gave(gateway, http) -> None:
    given = await http.get(gateway.url + "/v1/models", headers={"x-request-id": "abc-1"})
    unfit = await http.get(gateway.url + "/v1/models", headers={"x-request-id": "a b" * 99})

    assert given.headers["x-request-id"] == "abc-1"
    assert len(unfit.headers["x-request-id"]) == 32


async def test_the_list_of_models_is_openais_with_more_beside(gateway, http, engine, kit) -> None:
    warm = kit.at(
        engine,
        namespace="team",
        served_name="meta/llama",
        aliases=("chat",),
        created_seconds=7,
        phase="Serving",
    )
    gateway.route(warm, Model(key="2", name="cold", created_seconds=9, phase="Loading"))
    listed = await (await http.get(gateway.url + "/v1/models")).json()

    assert listed["object"] == "list"
    assert listed["data"] == [
        {
            "id": "meta/llama", "object": "model", "created": 7, "owned_by": "berth",
            "ready": True, "phase": "Serving", "aliases": ["llama", "chat", "llama.team"],
        },
        {
            "id": "cold", "object": "model", "created": 9, "owned_by": "berth",
            "ready": False, "phase": "Loading", "aliases": [],
        },
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["meta/llama", "meta%2Fllama", "chat", "llama", "llama:latest"])
async def test_a_model_is_shown_under_each_of_its_names(gateway, http, engine, kit, name) -> None:
    gateway.route(kit.at(engine, served_name="meta/llama", aliases=("chat",)))
    shown = await (await http.get(f"{gateway.url}/v1/models/{name}")).json()

    assert shown["id"] == "meta/llama"


async def test_a_model_that_does_not_exist_cannot_be_shown(gateway, http) -> None:
    response = await http.get(gateway.url + "/v1/models/nope")

    assert (await _error(response))["code"] == "model_not_found"


async def test_a_fault_of_the_gateway_is_a_500_in_openais_shape(
    gateway, http, engine, kit, monkeypatch, caplog
) -> None:
    async def fail(*_: object) -> int:
        raise ZeroDivisionError("secret detail")

    gateway.route(kit.at(engine))
    monkeypatch.setattr(gateway.app._proxy, "forward", fail)
    response = await http.post(gateway.url + CHAT, json={"model": "llama"})
    error = await _error(response)

    assert (response.status, error["type"]) == (500, "server_error")
    assert "secret detail" not in json.dumps(error)
    assert "ZeroDivisionError" in caplog.text


async def test_a_gateway_that_is_leaving_asks_its_clients_to_connect_elsewhere(
    gateway, http
) -> None:
    gateway.app.leaving = True
    response = await http.get(gateway.url + "/v1/models")

    assert response.headers["connection"] == "close"


async def test_keys_and_bodies_are_never_logged(gateway, http, engine, kit, caplog) -> None:
    caplog.set_level("DEBUG")
    gateway.route(kit.at(engine, engine_key="engine-key"))
    await http.post(gateway.url + CHAT, json={"model": "llama", "user": "private words"})
    await http.post(gateway.url + CHAT, json={"model": "nope", "user": "private words"})

    for secret in (kit.api_key, "engine-key", "private words"):
        assert secret not in caplog.text


async def test_requests_are_counted_by_model_and_code(gateway, http, engine, kit) -> None:
    gateway.route(kit.at(engine, namespace="team"))
    await http.post(gateway.url + CHAT, json={"model": "llama"})
    await http.post(gateway.url + CHAT, json={"model": "made up by a client"})

    count = "berth_gateway_requests_total"
    assert gateway.sample(count, namespace="team", model="llama", code="200") == 1
    assert gateway.sample(count, namespace="", model="", code="404") == 1
    seconds = "berth_gateway_first_byte_seconds_count"
    assert gateway.sample(seconds, namespace="team", model="llama") == 1


async def test_header_fields_of_any_length_arrive_and_long_ones_are_not_remembered(
    gateway, http, engine, kit
) -> None:
    gateway.route(kit.at(engine))
    before = calls._remembered_fields.cache_info().currsize
    accept = "application/json" + ";q=1" * 1000
    response = await http.post(
        gateway.url + CHAT, json={"model": "llama"}, headers={"accept": accept}
    )

    assert response.status == 200
    assert engine.received[0].headers["accept"] == accept
    assert calls._remembered_fields.cache_info().currsize == before


async def test_requests_without_a_prompt_are_not_alike(gateway, http, engines, kit) -> None:
    both = await engines(), await engines()
    gateway.route(kit.at(*both, policy=RoutingPolicy.PREFIX_AWARE))
    for _ in range(4):
        await http.post(gateway.url + CHAT, json={"model": "llama"})

    assert [len(one.received) for one in both] == [2, 2]
