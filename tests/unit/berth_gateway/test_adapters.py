"""LoRA adapters at the door: models of their own that share an engine, a queue and its defaults."""

import json
from dataclasses import replace
from typing import Any

import pytest

from berth_gateway.routing.presets import Presets
from berth_gateway.world.keys import plain

CHAT = "/v1/chat/completions"
ASK = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def routed(gateway, engine, kit) -> Any:
    gateway.route(_llama(engine, kit))
    return gateway


def _llama(engine: Any, kit: Any, **more: Any) -> Any:
    known = {"namespace": "team", "adapters": ("sql",), "loadable": ("sql",), "created_seconds": 7}
    return kit.at(engine, **known | more)


async def _ask(http: Any, gateway: Any, model: str, path: str = CHAT) -> Any:
    return await http.post(gateway.url + path, json=ASK | {"model": model, "stream": False})


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("sql", "sql"),
        ("sql.llama.team", "sql"),
        ("llama", "llama"),
        ("llama.team", "llama"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
async def test_the_engine_is_asked_for_the_adapter_by_its_own_name(
    routed, http, engine, path, asked, sent
) -> None:
    await _ask(http, routed, asked, path)
    assert json.loads(engine.received[0].body)["model"] == sent


async def test_ollamas_latest_is_the_adapter_too(routed, http, engine) -> None:
    await _ask(http, routed, "sql:latest", "/api/chat")
    assert json.loads(engine.received[0].body)["model"] == "sql"


async def test_a_model_whose_default_is_an_adapter_is_asked_for_as_that(
    gateway, http, engine, kit
) -> None:
    gateway.route(_llama(engine, kit, own_adapter="sql"))
    await _ask(http, gateway, "llama")
    assert json.loads(engine.received[0].body)["model"] == "sql"


async def test_an_adapter_has_the_models_own_defaults(gateway, http, engine, kit) -> None:
    gateway.route(_llama(engine, kit, presets=Presets(system="Be brief.")))
    await _ask(http, gateway, "sql")
    body = json.loads(engine.received[0].body)
    assert (body["model"], body["messages"][0]["content"]) == ("sql", "Be brief.")


async def test_what_is_asked_of_an_adapter_is_the_models_demand(routed, http) -> None:
    await _ask(http, routed, "sql")
    (line,) = routed.queues.lines.values()
    assert (line.arrivals, line.answered) == (1, 1)


async def test_adapters_are_listed_with_their_parent_as_the_engine_lists_them(routed, http) -> None:
    listed = await (await http.get(routed.url + "/v1/models")).json()
    assert listed["data"][1] == {
        "id": "sql",
        "object": "model",
        "created": 7,
        "owned_by": "berth",
        "ready": True,
        "phase": None,
        "aliases": ["sql.llama.team"],
        "parent": "llama",
    }
    assert "parent" not in listed["data"][0]


async def test_ollamas_tags_have_them_and_its_ps_has_what_takes_memory(routed, http) -> None:
    tags = await (await http.get(routed.url + "/api/tags")).json()
    running = await (await http.get(routed.url + "/api/ps")).json()
    assert [one["name"] for one in tags["models"]] == ["llama:latest", "sql:latest"]
    assert tags["models"][1]["details"]["parent_model"] == "llama.team"
    assert [one["name"] for one in running["models"]] == ["llama:latest"]


async def test_an_adapter_that_not_every_replica_has_does_not_exist_yet(
    gateway, http, engine, kit
) -> None:
    gateway.route(_llama(engine, kit, adapters=("sql", "law")))
    response = await _ask(http, gateway, "law")
    assert response.status == 404
    assert engine.received == []


async def test_a_key_for_an_adapter_opens_that_and_no_more(routed, http, kit) -> None:
    routed.board.admit_keys([replace(plain("key-1", kit.api_key), models=("sql",))])
    listed = await (await http.get(routed.url + "/v1/models")).json()
    assert [one["id"] for one in listed["data"]] == ["sql"]
    assert (await _ask(http, routed, "sql")).status == 200
    assert (await _ask(http, routed, "llama")).status == 404


async def test_a_key_for_the_model_opens_no_adapter_of_it(routed, http, kit) -> None:
    routed.board.admit_keys([replace(plain("key-1", kit.api_key), models=("llama",))])
    assert (await _ask(http, routed, "sql")).status == 404
