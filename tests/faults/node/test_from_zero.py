"""Many at once at a model that sleeps, a model that cannot wake, and a load that comes and goes."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fault_case import Case, changes_of_size, ends, shown
from fault_traffic import gateways, short, through

from bench.cluster.traffic import Ask, Clients, End, Result
from bench.cluster.zero_drop import Scene
from dev import standin

ASLEEP_SECONDS = 90
BURST, MOST_HELD = 200, 150
BURST_SECONDS = 60.0
# From the first request of a model that crashes at its start until its clients have their error.
TOLD_SECONDS = 60.0
CLIENTS_OF_A_CRASH = 5
# Kubernetes waits 10 s and then 20 s between a container's first starts.
MOST_RESTARTS = 3
FLAPPING_SECONDS = 90.0
FLAP_SECONDS = 5.0
# Up once, and down once at the very most: the load is back long before scaleDownDelaySeconds.
MOST_CHANGES = 2
SLEEPS = {"mode": "Auto", "minReplicas": 0}


def asleep(scene: Scene, name: str, knobs: dict[str, str], **spec: Any) -> Iterator[str]:
    scene.berth.apply(
        standin.model(
            *(scene.namespace, name, "hf://berth/tiny", knobs),
            resources={"memory": standin.LEAST_MEMORY},
            **spec,
        )
    )
    scene.berth.wait(
        name,
        lambda status: status.get("phase") == "Idle",
        seconds=ASLEEP_SECONDS,
        namespace=scene.namespace,
    )
    yield name
    scene.berth.kubectl("delete", "mdep", name, "-n", scene.namespace, "--wait")


@pytest.fixture
def crowded(scene: Scene) -> Iterator[str]:
    scaling = SLEEPS | {"maxReplicas": 2}
    yield from asleep(scene, "crowded", {}, scaling=scaling, queue={"maxPending": MOST_HELD})


@pytest.fixture
def broken(scene: Scene) -> Iterator[str]:
    knobs = {"STANDIN_CRASH": "oom"}
    yield from asleep(scene, "broken", knobs, scaling=SLEEPS | {"maxReplicas": 1})


@pytest.fixture
def flapping(scene: Scene) -> Iterator[str]:
    scaling = SLEEPS | {"maxReplicas": 3, "targetQueueDepth": 4}
    knobs = {"STANDIN_TOKENS_PER_SECOND": "20"}
    yield from asleep(scene, "flapping", knobs, scaling=scaling)


def sizes(case: Case, model: str) -> list[int]:
    return changes_of_size(case.seen("Deployment"), model)


async def at_once(clients: Clients, asks: list[Ask]) -> list[Result]:
    async with clients:
        return await asyncio.gather(*(clients.send(ask) for ask in asks))


def test_fault_31_two_hundred_at_once_wake_a_model_once_and_what_is_queued_is_answered(
    scene: Scene, case: Case, crowded: str
) -> None:
    """All at one gateway, which holds a hundred and fifty."""
    (gateway, *_) = gateways(scene.berth)
    clients = through(gateway, scene.berth.key)
    results = asyncio.run(asyncio.wait_for(at_once(clients, short(crowded, BURST)), BURST_SECONDS))
    assert ends(results) == {End.REFUSED: BURST - MOST_HELD}, shown(results)
    refused = [one for one in results if one.end is End.REFUSED]
    assert {one.detail.split()[0] for one in refused} == {"429"}
    assert all(one.retry_after is not None and one.retry_after >= 1 for one in refused)
    events = scene.berth.all("events", scene.namespace)
    woken = [
        one
        for one in events
        if one["involvedObject"]["name"] == crowded and one["reason"] == "ScaledFromZero"
    ]
    assert [one.get("count", 1) for one in woken] == [1]
    assert sizes(case, crowded) in ([0, 1], [0, 2], [0, 1, 2])


def test_fault_32_clients_of_a_model_that_cannot_start_are_told_why_in_time(
    scene: Scene, case: Case, broken: str
) -> None:
    clients = Clients(scene.berth.url, scene.berth.key)
    asks = [ask for ask in short(broken, 2 * CLIENTS_OF_A_CRASH) if not ask.stream]
    results = asyncio.run(asyncio.wait_for(at_once(clients, asks), TOLD_SECONDS))
    assert ends(results) == {End.REFUSED: CLIENTS_OF_A_CRASH}
    assert {one.detail.split()[0] for one in results} == {"503"}
    assert all("OutOfMemory" in one.detail for one in results), shown(results)
    assert all(one.retry_after for one in results)
    status = scene.berth.status(broken, scene.namespace)
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfMemory")
    restarts = [
        one["restartCount"]
        for seen in case.seen("Pod")
        for one in seen.object["status"].get("containerStatuses", [])
        if one["name"] == "engine" and seen.object["metadata"]["name"].startswith(broken)
    ]
    assert max(restarts) <= MOST_RESTARTS


def test_fault_33_a_load_that_flaps_around_the_threshold_changes_the_size_once(
    scene: Scene, case: Case, flapping: str
) -> None:
    """For as long as a test run can wait. The law itself: `bench.simulator` with half-hours of it."""

    async def flap() -> list[Result]:
        """Three streams of five seconds at once and then six, in turn."""
        async with Clients(scene.berth.url, scene.berth.key) as clients:
            ended = time.monotonic() + FLAPPING_SECONDS
            turn = 0
            while time.monotonic() < ended:
                asks = [
                    Ask(flapping, f"Go on {turn} {n}.", int(20 * FLAP_SECONDS), stream=True)
                    for n in range(3 + 3 * (turn % 2))
                ]
                await asyncio.gather(*(clients.send(ask) for ask in asks))
                turn += 1
        return clients.results

    results = asyncio.run(flap())
    assert ends(results) == {}, shown(results)
    (woken, *changed) = [size for size in sizes(case, flapping) if size]
    assert woken >= 1
    assert len(changed) <= MOST_CHANGES, changed
