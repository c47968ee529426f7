"""What the page is told, and what a key keeps from it."""

import json
from dataclasses import replace

import pytest

from berth_api.pool import PoolStatus
from berth_gateway.page import view
from berth_gateway.page.view import Gateway
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.memory import Memory
from berth_gateway.routing.pools import Pool
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.routing.standing import Standing
from berth_gateway.state.board import Board
from berth_gateway.state.load import Load
from berth_gateway.state.meters import Meters
from berth_gateway.state.past import KEPT_LOOKS, KEPT_SECONDS, Past
from berth_gateway.state.queues import Queues

POD = Endpoint("uid-1", "http://10.0.0.1:8000", "pod-1")
LLAMA = Model(
    key="1",
    name="llama",
    namespace="team",
    served_name="llama:70b",
    phase="Serving",
    engine_key="s3cret",
    endpoints=(POD,),
    standing=Standing(processor="2 x h100", replicas=3, memory=Memory("h100", 2, 100, 90, ())),
)
QWEN = Model(key="2", name="qwen", namespace="other", phase="Idle")
GATEWAY = Gateway("gateway-1", 2)


@pytest.fixture
def board() -> Board:
    made = Board(Queues(Load(), Backlog(10, 1000)), Meters())
    made.publish(build([LLAMA, QWEN]))
    made.synced = True
    return made


def test_it_tells_of_every_model_with_what_is_counted_here(board) -> None:
    board.queues.load.enter(POD.key)
    told = view.state(board, None, GATEWAY)
    qwen, llama = told["models"]

    assert (told["gateway"], told["gateways"], told["synced"]) == ("gateway-1", 2, True)
    assert (llama["id"], llama["phase"], llama["inFlight"]) == ("llama:70b", "Serving", 1)
    assert (llama["processor"], llama["replicas"]["reached"]) == ("2 x h100", 1)
    assert (qwen["id"], qwen["inFlight"], qwen["held"]) == ("qwen", 0, 0)


async def test_it_tells_who_waits_and_how_long(board) -> None:
    board.queues.hold(QWEN, 10)
    told = view.state(board, None, GATEWAY)["models"][0]

    assert told["held"] == 1
    assert told["oldestHeldSeconds"] >= 0


def test_a_key_sees_what_it_may_use_and_nothing_else(board) -> None:
    key = ApiKey("team-b", "00" * 32, models=("qwen",))
    told = json.dumps(view.state(board, key, GATEWAY))

    assert json.loads(told)["key"] == "team-b"
    assert "qwen" in told
    assert "llama" not in told
    assert "h100" not in told


def test_the_engines_key_and_addresses_stay_here(board) -> None:
    told = json.dumps(view.state(board, None, GATEWAY))

    assert "s3cret" not in told
    assert "10.0.0.1" not in told


def test_a_pool_says_where_its_model_is_and_until_when(board) -> None:
    standing = Standing(processor="pool small", pool="small", unless_asked="5m idle", until="x")
    pooled = replace(QWEN, namespace="team", standing=replace(standing, device="cuda"))
    board.publish(build([pooled]))
    assert _in_pool(board) == ("pool small", None, "x", None)

    engine = {"id": "e", "models": ["qwen"], "state": "Serving", "pod": "p", "memoryBytes": 20}
    for cards, until, said in (([1], None, "5m idle"), ([0, 1], "2026-01-01T00:00:00Z", None)):
        told = engine | {"cards": cards, "until": until}
        status = PoolStatus.model_validate({"engines": [told]})
        board.publish_pools((Pool("team", "small", "h100", status),))
        place = f"GPU {','.join(map(str, cards))} of small"
        assert _in_pool(board) == (place, 20, said or until, 1)


def test_a_pools_model_that_is_away_is_told_so(board) -> None:
    standing = Standing(processor="pool small", pool="small", until="5m idle", wanted_replicas=None)
    board.publish(build([replace(QWEN, namespace="team", standing=standing)]))
    board.publish_pools((Pool("team", "small", "h100", PoolStatus()),))

    assert _in_pool(board) == ("pool small", None, None, 0)


def _in_pool(board) -> tuple[str, int | None, str | None, int | None]:
    (told,) = view.state(board, None, GATEWAY)["models"]
    planned, wanted = told["memory"]["plannedBytes"], told["replicas"]["wanted"]
    return told["processor"], planned, told["until"], wanted


def test_cards_are_those_of_the_models_that_it_tells_of(board) -> None:
    (card,) = view.state(board, None, GATEWAY)["cards"]

    assert (card["name"], card["count"]) == ("llama:70b", 6)


@pytest.mark.parametrize(
    ("model", "load", "unload"),
    [
        (LLAMA, "", ""),
        (replace(QWEN, fixed_replicas=0), "raise spec.replicas", ""),
        (replace(QWEN, standing=Standing(stays_because="it stays")), "", "it stays"),
        (Model(key="3", name="file", endpoints=(POD,)), "", "routes file"),
    ],
)
def test_what_a_request_cannot_do_is_told_with_the_reason(board, model, load, unload) -> None:
    board.publish(build([model]))
    (told,) = view.state(board, None, GATEWAY)["models"]

    assert load in told["cannotLoad"]
    assert unload in told["cannotUnload"]
    assert (bool(told["cannotLoad"]), bool(told["cannotUnload"])) == (bool(load), bool(unload))


def test_the_past_is_told_in_seconds_from_now(board) -> None:
    past = Past(board.queues)
    past.look()
    past.look()
    board.queues.load.enter(POD.key)
    past.look()
    told = view.history(past, [LLAMA])

    assert told["points"] == [[10, 0, 0, 1], [0, 0, 1, 1]]
    assert (told["everySeconds"], told["knownSeconds"]) == (5, 10)


def test_the_past_is_half_an_hour_long_at_most(board) -> None:
    past = Past(board.queues)
    for _ in range(KEPT_LOOKS + 10):
        past.look()

    assert view.history(past, [LLAMA])["knownSeconds"] == KEPT_SECONDS


def test_before_the_first_look_there_is_no_past(board) -> None:
    told = view.history(Past(board.queues), [LLAMA])

    assert (told["points"], told["knownSeconds"]) == ([], 0)
