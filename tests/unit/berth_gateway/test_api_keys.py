"""What a key may do: which models, and how often."""

import hashlib
from typing import Any

import aiohttp
import pytest

from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.snapshot import Model

CHAT = "/v1/chat/completions"
PHI = Model(key="2", name="phi", namespace="team", fixed_replicas=0)


def _key(text: str, **more: Any) -> ApiKey:
    return ApiKey(f"id-{text}", hashlib.sha256(text.encode()).hexdigest(), **more)


async def _ask(gateway: Any, key: str, path: str = CHAT, **document: Any) -> aiohttp.ClientResponse:
    method = "POST" if path == CHAT else "GET"
    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        body = {"json": document} if document else {}
        response = await http.request(method, gateway.url + path, **body)
        await response.read()
    return response


@pytest.fixture
def routed(gateway, engine, kit) -> Any:
    gateway.route(kit.at(engine, namespace="team", aliases=("chat",)), PHI)
    return gateway


async def test_a_key_with_a_list_sees_its_models_only(routed) -> None:
    routed.board.admit_keys([_key("some", models=("chat",)), _key("all")])
    some = await (await _ask(routed, "some", "/v1/models")).json()
    every = await (await _ask(routed, "all", "/v1/models")).json()

    assert [one["id"] for one in some["data"]] == ["llama"]
    assert {one["id"] for one in every["data"]} == {"llama", "phi"}


@pytest.mark.parametrize("name", ["llama", "chat", "llama.team"])
async def test_a_model_on_the_list_is_served_under_each_of_its_names(routed, name) -> None:
    routed.board.admit_keys([_key("some", models=("chat",))])

    assert (await _ask(routed, "some", model=name)).status == 200
    assert (await _ask(routed, "some", f"/v1/models/{name}")).status == 200


async def test_another_model_does_not_exist_for_it_and_looks_like_none(routed) -> None:
    routed.board.admit_keys([_key("some", models=("chat",))])
    other, none = [await _ask(routed, "some", model=name) for name in ("phi", "nope")]
    shown = await _ask(routed, "some", "/v1/models/phi")

    assert (other.status, none.status, shown.status) == (404, 404, 404)
    told, truth = (await other.json())["error"], (await none.json())["error"]
    assert told["code"] == "model_not_found"
    assert told["message"].replace("phi", "nope") == truth["message"]


async def test_beyond_its_rate_a_key_is_told_when_to_come_back(routed) -> None:
    routed.board.admit_keys([_key("slow", requests_per_minute=2)])
    answers = [await _ask(routed, "slow", model="llama") for _ in range(3)]

    assert [one.status for one in answers] == [200, 200, 429]
    left = [one.headers["x-ratelimit-remaining-requests"] for one in answers]
    assert left == ["1", "0", "0"]
    assert {one.headers["x-ratelimit-limit-requests"] for one in answers} == {"2"}
    assert answers[2].headers["x-ratelimit-reset-requests"] == "1m0s"
    assert answers[2].headers["retry-after"] == "30"
    assert (await answers[2].json())["error"]["code"] == "rate_limit_exceeded"
    assert routed.sample("berth_gateway_rate_limited_total", key="id-slow") == 1


async def test_a_refusal_says_how_the_key_stands_too_and_lists_cost_nothing(routed) -> None:
    routed.board.admit_keys([_key("slow", requests_per_minute=2)])
    refused = await _ask(routed, "slow", model="nope")
    listed = await _ask(routed, "slow", "/v1/models")

    assert refused.headers["x-ratelimit-remaining-requests"] == "1"
    assert listed.headers["x-ratelimit-remaining-requests"] == "1"


async def test_a_key_without_a_limit_has_no_such_headers(routed) -> None:
    routed.board.admit_keys([_key("free")])
    response = await _ask(routed, "free", model="llama")

    assert not [name for name in response.headers if name.lower().startswith("x-ratelimit")]


async def test_new_keys_do_not_refill_what_was_spent(routed) -> None:
    for _ in range(3):
        routed.board.admit_keys([_key("slow", requests_per_minute=2)])
        last = await _ask(routed, "slow", model="llama")

    assert last.status == 429


async def test_each_gateway_lets_its_share_through(gateways, engine, kit) -> None:
    gateway = await gateways(gateways=2)
    gateway.route(kit.at(engine))
    gateway.board.admit_keys([_key("slow", requests_per_minute=4)])
    answers = [await _ask(gateway, "slow", model="llama") for _ in range(3)]

    assert [one.status for one in answers] == [200, 200, 429]


async def test_what_a_key_uses_is_counted_by_model(routed) -> None:
    routed.board.admit_keys([_key("free")])
    await _ask(routed, "free", model="chat")
    await _ask(routed, "free", model="nope")

    labels = {"namespace": "team", "model": "llama", "key": "id-free"}
    assert routed.sample("berth_gateway_key_requests_total", **labels) == 1
    assert routed.sample("berth_gateway_prompt_tokens_total", **labels) == 5
    assert routed.sample("berth_gateway_completion_tokens_total", **labels) == 1
