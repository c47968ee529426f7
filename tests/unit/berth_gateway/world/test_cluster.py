import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from berth_api import names
from berth_api.keys import engine_key, models_api_key
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.settings import Settings
from berth_gateway.state.board import Board
from berth_gateway.state.load import Load
from berth_gateway.state.meters import Meters
from berth_gateway.state.queues import Queues
from berth_gateway.world import cluster, kube
from berth_gateway.world.access import Access
from berth_gateway.world.cluster import ClusterWorld

MODELS = "/apis/berth.dev/v1alpha1/modeldeployments"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
POOLS = "/apis/berth.dev/v1alpha1/modelpools"
SECRETS = "/api/v1/namespaces/berth/secrets"


def _deployment(name: str = "llama", uid: str = "u-1") -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": uid,
            "creationTimestamp": "2026-11-21T03:00:00Z",
        },
        "spec": {"model": {"source": "hf://meta/llama"}},
    }


def _pool(cards: int) -> dict[str, Any]:
    found = [
        {"pod": "p", "index": index, "totalBytes": 8, "grantedBytes": 0} for index in range(cards)
    ]
    return {
        "metadata": {"name": "small", "namespace": "team"},
        "spec": {"accelerator": {"profile": "h100"}, "cache": {"claimName": "models"}},
        "status": {"cards": found},
    }


def _slice(*, terminating: bool = False) -> dict[str, Any]:
    conditions = {"ready": not terminating, "serving": True, "terminating": terminating}
    return {
        "metadata": {"namespace": "team", "name": "s", "labels": {names.LABEL_MODEL: "llama"}},
        "ports": [{"name": "engine", "port": 8000}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}],
    }


def _secret(name: str, **fields: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in fields.items()}
    return {"metadata": {"name": name, "namespace": "berth"}, "data": data}


async def _nobody() -> None:
    return None


@pytest.fixture
def board() -> Board:
    return Board(Queues(Load(), Backlog(10, 10)), Meters())


@asynccontextmanager
async def _running(kit: Any, api_server: Any, board: Board, *spaces: str) -> AsyncIterator[Any]:
    settings = Settings(routes=None, keys=None, namespace="berth", watch_namespaces=spaces)
    async with kube.connect(Access(api_server.url, _nobody)) as api:
        running = asyncio.create_task(ClusterWorld(api, settings, board).run())
        await kit.until(lambda: board.synced)
        yield running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def world(kit, api_server, board, monkeypatch) -> AsyncIterator[Any]:
    monkeypatch.setattr(cluster, "COALESCE_SECONDS", 0)
    async with _running(kit, api_server, board) as running:
        yield running


async def test_the_board_follows_the_cluster(kit, api_server, board, world) -> None:
    assert board.snapshot.models == ()

    api_server.put(MODELS, _deployment())
    await kit.until(lambda: board.snapshot.find("meta/llama"))
    api_server.put(SLICES, _slice())
    await kit.until(lambda: board.snapshot.models[0].endpoints)
    api_server.put(SLICES, _slice(terminating=True))
    await kit.until(lambda: not board.snapshot.models[0].endpoints)
    api_server.delete(MODELS, "team/llama")
    await kit.until(lambda: not board.snapshot.models)


async def test_pools_are_followed(kit, api_server, board, world) -> None:
    for count in (1, 2):
        api_server.put(POOLS, _pool(cards=count))
        await kit.until(
            lambda count=count: [len(one.status.cards) for one in board.pools] == [count]
        )
    api_server.delete(POOLS, "team/small")
    await kit.until(lambda: not board.pools)


async def test_nobody_waits_for_pools(kit, api_server, board) -> None:
    api_server.refused.add(POOLS)
    api_server.put(MODELS, _deployment())
    async with _running(kit, api_server, board):
        assert board.snapshot.find("llama")
        assert board.pools == ()


async def test_keys_are_read_from_the_two_secrets_and_from_no_other(
    kit, api_server, board, world
) -> None:
    digest = hashlib.sha256(b"sk-1").hexdigest()
    api_server.put(MODELS, _deployment())
    api_server.put(SECRETS, _secret(names.SECRET_API_KEYS, admin=digest))
    api_server.put(SECRETS, _secret(names.SECRET_ENGINE_MASTER, masterKey="m"))
    await kit.until(lambda: board.keyring.find(b"Bearer sk-1"))
    await kit.until(
        lambda: [m.engine_key for m in board.snapshot.models] == [engine_key(b"m", "u-1")]
    )
    assert board.models_key == models_api_key(b"m")

    asked = [query for path, query in api_server.requests if path == SECRETS]
    assert {query["fieldSelector"] for query in asked} == {
        "metadata.name=berth-api-keys",
        "metadata.name=berth-engine-master",
    }


async def test_a_keys_limits_are_read_and_read_again(kit, api_server, board, world) -> None:
    digest = hashlib.sha256(b"sk-1").hexdigest()
    for limit in (60, 600):
        entry = json.dumps({"sha256": digest, "models": ["llama"], "requestsPerMinute": limit})
        api_server.put(SECRETS, _secret(names.SECRET_API_KEYS, team=entry))
        await kit.until(
            lambda limit=limit: (
                board.keyring.find(b"Bearer sk-1") == ApiKey("team", digest, ("llama",), limit)
            )
        )


async def test_a_key_that_is_taken_out_of_the_secret_is_out(kit, api_server, board, world) -> None:
    digest = hashlib.sha256(b"sk-1").hexdigest()
    api_server.put(SECRETS, _secret(names.SECRET_API_KEYS, admin=digest))
    await kit.until(lambda: board.keyring.find(b"Bearer sk-1"))
    api_server.put(SECRETS, _secret(names.SECRET_API_KEYS))
    await kit.until(lambda: board.keyring.find(b"Bearer sk-1") is None)


async def test_what_was_there_before_the_gateway_is_seen_whole_at_the_first_sight(
    kit, api_server, board
) -> None:
    for number in range(5):
        api_server.put(MODELS, _deployment(f"m-{number}", f"u-{number}"))
    async with _running(kit, api_server, board):
        assert [model.name for model in board.snapshot.models] == [f"m-{n}" for n in range(5)]


async def test_while_the_api_server_is_away_the_last_state_stands_and_then_goes_on(
    kit, api_server, board, world
) -> None:
    api_server.put(MODELS, _deployment())
    await kit.until(lambda: board.snapshot.models)
    api_server.status = 503
    api_server.end_watches()
    count = len(api_server.requests)
    await kit.until(lambda: len(api_server.requests) > count + 3)
    assert board.snapshot.find("llama")

    api_server.status = 200
    await kit.until(lambda: api_server.watches.get(MODELS))
    api_server.put(MODELS, _deployment("phi", "u-2"))
    await kit.until(lambda: board.snapshot.find("phi"))


async def test_named_namespaces_are_asked_for_one_by_one(kit, api_server, board) -> None:
    async with _running(kit, api_server, board, "a", "b"):
        pass

    paths = {path for path, _ in api_server.requests}
    assert paths == {SECRETS} | {
        f"{group}/namespaces/{space}/{plural}"
        for group, plural in (
            ("/apis/berth.dev/v1alpha1", "modeldeployments"),
            ("/apis/berth.dev/v1alpha1", "modelpools"),
            ("/apis/discovery.k8s.io/v1", "endpointslices"),
        )
        for space in ("a", "b")
    }


async def test_a_part_that_dies_ends_the_whole(kit, api_server, board, world, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(board, "publish", broken)
    api_server.put(MODELS, _deployment())
    with pytest.RaisesGroup(ZeroDivisionError):
        await asyncio.wait_for(asyncio.shield(world), 3)
