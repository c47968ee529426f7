"""Managing models through the gateway, as Ollama's own client sees it; a stand-in is the operator."""

import asyncio
import hashlib
import json
from typing import Any

import ollama
import pytest

from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.snapshot import Model, build
from berth_gateway.settings import AuthMode, Managers

MANAGER, CLIENT = "sk-berth-manager", "sk-berth-client"
LLAMA = Model(key="uid-llama", name="llama", namespace="team")
PLACE = {"namespace": "team", "name": "llama", "uid": "uid-llama"}
MODELS_KEY = "derived"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def client(gateway: Any, key: str = MANAGER) -> ollama.AsyncClient:
    return ollama.AsyncClient(host=gateway.url, headers={"authorization": f"Bearer {key}"})


def prepared(gateway: Any) -> Any:
    keys = [ApiKey("m", digest(MANAGER), manages=True), ApiKey("c", digest(CLIENT))]
    gateway.board.admit_keys(keys)
    gateway.board.models_key = MODELS_KEY
    gateway.route(LLAMA)
    return gateway


@pytest.fixture
def operator(engine: Any) -> Any:
    """What stands for it takes any POST."""
    return engine


@pytest.fixture
async def managing(gateways: Any, operator: Any) -> Any:
    return prepared(await gateways(models_api=operator.url))


async def lines(request: Any, *told: dict[str, Any]) -> None:
    await request.head(
        200, {"content-type": "application/x-ndjson", "transfer-encoding": "chunked"}
    )
    for one in told:
        await request.piece(json.dumps(one).encode() + b"\n")
    request.writer.write(b"0\r\n\r\n")


async def succeed(request: Any) -> None:
    await lines(request, {"status": "pulling manifest"}, {"status": "success"})


def asked(operator: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(operator.received[-1].body)
    return found


async def test_a_pull_is_ordered_and_its_lines_come_as_they_are(managing, operator) -> None:
    operator.behave = succeed
    found = [line.status async for line in await client(managing).pull("hf.co/a/b", stream=True)]

    assert found == ["pulling manifest", "success"]
    assert operator.received[0].line == "POST /api/pull HTTP/1.1"
    assert operator.received[0].headers["authorization"] == f"Bearer {MODELS_KEY}"
    assert asked(operator)["name"] == "hf.co/a/b"


async def test_a_model_is_created(managing, operator) -> None:
    async def whole(request: Any) -> None:
        await request.reply(200, {"status": "success"})

    operator.behave = whole
    answer = await client(managing).create("mario", from_="llama", system="You are Mario.")

    assert answer.status == "success"
    found = asked(operator)
    assert (found["name"], found["source"], found["stream"]) == ("mario", PLACE, False)
    assert found["document"]["system"] == "You are Mario."


async def test_a_deletion_is_answered_once_this_gateway_has_heard_of_it(managing, operator) -> None:
    async def delete(request: Any) -> None:
        asyncio.get_running_loop().call_later(0.1, managing.board.publish, build([]))
        await request.reply(200, {})

    operator.behave = delete
    answer = await client(managing).delete("llama:latest")

    assert answer.status == "success"
    assert asked(operator)["place"] == PLACE
    assert (await client(managing).list()).models == []


async def test_a_copy_is_answered_once_this_gateway_has_heard_of_it(managing, operator) -> None:
    async def copy(request: Any) -> None:
        mario = Model(key="uid-mario", name="mario", namespace="team")
        publish = managing.board.publish
        asyncio.get_running_loop().call_later(0.1, publish, build([LLAMA, mario]))
        await request.reply(200, {})

    operator.behave = copy
    await client(managing).copy("llama", "mario")

    assert asked(operator)["source"] == PLACE
    assert (await client(managing).show("mario")).capabilities == ["completion"]


async def test_the_operators_refusal_is_the_clients(managing, operator) -> None:
    async def refuse(request: Any) -> None:
        await request.reply(409, {"error": "mario was not made by this API"})

    operator.behave = refuse
    with pytest.raises(ollama.ResponseError, match="not made by this API") as refused:
        await client(managing).create("mario", from_="llama")
    assert refused.value.status_code == 409


async def test_a_key_without_the_right_manages_nothing(managing, operator) -> None:
    stranger = client(managing, CLIENT)
    for call in (stranger.pull("x"), stranger.delete("llama"), stranger.copy("llama", "x")):
        with pytest.raises(ollama.ResponseError, match='"manage": true') as refused:
            await call
        assert refused.value.status_code == 403
    assert operator.received == []


async def test_without_an_operators_address_models_are_managed_elsewhere(gateway) -> None:
    with pytest.raises(ollama.ResponseError, match="ModelDeployment") as refused:
        await client(prepared(gateway)).pull("llama")
    assert refused.value.status_code == 501


@pytest.mark.parametrize(
    ("managers", "status"), [(Managers.KEYS, 403), (Managers.ANYONE, 200)], ids=str
)
async def test_without_keys_nobody_manages_unless_everybody_may(
    gateways, operator, http, managers, status
) -> None:
    operator.behave = succeed
    origin = {"models_api": operator.url, "managers": managers}
    gateway = prepared(await gateways(auth=AuthMode.NONE, **origin))
    response = await http.post(f"{gateway.url}/api/pull", json={"model": "hf.co/a/b"})
    assert response.status == status


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/delete"), ("DELETE", "/api/pull")])
async def test_the_methods_are_ollamas(managing, http, method, path) -> None:
    headers = {"authorization": f"Bearer {MANAGER}"}
    response = await http.request(method, managing.url + path, json={}, headers=headers)
    assert response.status == 405


async def test_an_operator_that_is_away_is_503_with_a_time_to_wait(gateways, engine, http) -> None:
    gateway = prepared(await gateways(models_api=engine.url))
    await engine.stop()
    headers = {"authorization": f"Bearer {MANAGER}"}
    response = await http.post(f"{gateway.url}/api/pull", json={"model": "x"}, headers=headers)

    assert (response.status, response.headers["retry-after"]) == (503, "2")
    assert "cannot be reached" in (await response.json())["error"]


async def test_an_operator_of_another_key_is_no_401_of_the_clients(managing, operator) -> None:
    async def unknown(request: Any) -> None:
        await request.reply(401, {"error": "this port is for Berth's gateways"})

    operator.behave = unknown
    with pytest.raises(ollama.ResponseError, match="does not know this gateway's key") as refused:
        await client(managing).pull("x")
    assert refused.value.status_code == 503


async def test_before_the_master_key_is_known_nothing_is_ordered(managing, operator) -> None:
    managing.board.models_key = None
    with pytest.raises(ollama.ResponseError, match="has no key yet"):
        await client(managing).pull("x")
    assert operator.received == []


async def test_a_stream_that_breaks_off_ends_in_a_line_that_says_so(managing, operator) -> None:
    async def die(request: Any) -> None:
        await request.head(200, {"transfer-encoding": "chunked"})
        await request.piece(b'{"status": "pulling manifest"}\n')
        request.reset()

    operator.behave = die
    with pytest.raises(ollama.ResponseError, match="stopped before the answer was complete"):
        async for _ in await client(managing).pull("x", stream=True):
            pass
