"""Models take turns in a pool of real vLLM engines. `make bench-turns` is the same for ten minutes.

Which pod's engine answers, who goes for whom and what is held meanwhile is all real: the API
server, the kubelet, the chart, the images, the weights.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bench.cluster import turns
from bench.cluster.turns import CONTEXTS, NAMESPACE, POOL
from berth_api import names
from dev.installed import SYSTEM, Berth

SECONDS = 75.0


@pytest.fixture(scope="module")
def pool(berth: Berth, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with turns.models(berth, tmp_path_factory.mktemp("weights")):
        yield POOL


def engines(berth: Berth) -> dict[str, dict[str, Any]]:
    """By model."""
    status = berth.get("modelpool", POOL, NAMESPACE)["status"]
    return {name: one for one in status["engines"] for name in one["models"]}


def serving(berth: Berth) -> set[str]:
    return {name for name, one in engines(berth).items() if one["state"] == "Serving"}


def page_state(berth: Berth) -> dict[str, Any]:
    """What a gateway's page draws for the administrator's key."""
    component = f"{names.LABEL_COMPONENT}={names.COMPONENT_GATEWAY}"
    pod = berth.all("pods", SYSTEM, component)[0]
    url = f"http://{pod['status']['podIP']}:{names.PORT_GATEWAY_MANAGEMENT}/ui/state"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {berth.key}"}, timeout=10.0)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def terminal(berth: Berth, *arguments: str) -> str:
    """What `berth` prints for an administrator."""
    done = subprocess.run(
        [sys.executable, "-m", "berth_cli", *arguments, "--namespace", NAMESPACE],
        env=dict(os.environ) | {"KUBECONFIG": str(berth.kubectl.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_three_models_take_turns_on_room_for_two(berth: Berth, pool: str) -> None:
    played = asyncio.run(turns.play(berth, SECONDS, random.Random(7)))
    print(turns.table(played))
    assert played.failures == []
    assert len(played.watched.residencies) >= 2, "somebody was evicted for another"
    assert {one.ask.model.split(".")[0] for one in played.results} == set(CONTEXTS)


def test_what_serves_is_what_the_terminal_shows(berth: Berth, pool: str) -> None:
    berth.wait_until(
        "nothing moves",
        lambda: all(one["state"] in ("Serving", "Absent") for one in engines(berth).values()),
        seconds=120,
    )
    shown = {one["name"]: one for one in json.loads(terminal(berth, "ps", "-o", "json"))["models"]}
    assert {name for name, one in shown.items() if one["phase"] == "Serving"} == serving(berth)


def test_what_serves_lies_on_the_pools_card_on_the_page(berth: Berth, pool: str) -> None:
    def card() -> dict[str, Any]:
        (found,) = (one for one in page_state(berth)["cards"] if one["name"] == f"pool {pool}")
        return found

    def drawn() -> set[str]:
        return {one["model"] for one in card()["parts"]}

    berth.wait_until("the page draws what serves", lambda: drawn() == serving(berth), seconds=60)
    found = card()
    for name in {one["model"] for one in found["parts"]}:
        plan = berth.status(name, NAMESPACE)["plan"]
        parts = {one["kind"]: one for one in found["parts"] if one["model"] == name}
        assert parts["weights"]["plannedBytes"] == plan["weightsBytes"]
        assert parts["kvCache"]["plannedBytes"] == plan["kvCacheBytes"]
    assert sum(one["plannedBytes"] for one in found["parts"]) <= found["totalBytes"]


def test_it_loads_and_unloads_by_name(berth: Berth, pool: str) -> None:
    terminal(berth, "load", "gamma")
    assert engines(berth)["gamma"]["state"] == "Serving"
    assert "until" not in engines(berth)["gamma"], "it stays until it is told to go"
    terminal(berth, "unload", "gamma")
    berth.wait_until("it is gone", lambda: engines(berth)["gamma"]["state"] == "Absent", seconds=60)


def test_an_edit_takes_the_place_of_what_serves(berth: Berth, pool: str) -> None:
    """Models that differ in what the gateway adds share an engine; one that differs in its own
    flags gets another, and its old one goes."""
    patch = {"spec": {"runtime": {"maxModelLen": CONTEXTS["alpha"]}}}
    before = engines(berth)["alpha"]["id"]
    berth.kubectl(
        *("patch", "mdep", "beta", "-n", NAMESPACE, "--type=merge", f"--patch={json.dumps(patch)}")
    )
    berth.wait_until(
        "alpha and beta are one engine",
        lambda: engines(berth)["beta"]["id"] == before,
        seconds=60,
    )
    assert sorted(engines(berth)["beta"]["models"]) == ["alpha", "beta"]


def test_a_model_moves_out_and_is_served_by_a_pod_of_its_own(berth: Berth, pool: str) -> None:
    patch = {"spec": {"pool": None}}
    berth.kubectl(
        *("patch", "mdep", "beta", "-n", NAMESPACE, "--type=merge", f"--patch={json.dumps(patch)}")
    )
    selector = "berth.dev/model=beta,berth.dev/role=engine"
    berth.wait_until(
        "it has a pod of its own",
        lambda: bool(berth.all("pods", NAMESPACE, selector)),
        seconds=60,
    )
    berth.wait(
        "beta", lambda told: told.get("phase") == "Serving", seconds=240, namespace=NAMESPACE
    )
    slices = berth.all("endpointslices", NAMESPACE, "berth.dev/model=beta")
    assert [one for one in slices if "berth.dev/pool" in one["metadata"]["labels"]] == []
    assert "beta" not in engines(berth)


def test_a_model_leaves_the_pool_and_nothing_of_it_stays(berth: Berth, pool: str) -> None:
    berth.kubectl("delete", "mdep", "gamma", "-n", NAMESPACE, "--wait")
    berth.wait_until("the pool has let go", lambda: "gamma" not in engines(berth), seconds=60)

    def left() -> list[str]:
        kinds = ("endpointslices", "jobs")
        found = [
            one for kind in kinds for one in berth.all(kind, NAMESPACE, "berth.dev/model=gamma")
        ]
        return [one["metadata"]["name"] for one in found]

    berth.wait_until("nothing is left", lambda: not left(), seconds=10)
