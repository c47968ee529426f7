"""Faults on a real node, with the stand-in engine: what stands there for all, the same after each.

They kill and stop processes of the node, so they refuse every cluster but the developer's own, of
which this machine is the node.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import stalls
from fault_case import Case

from bench.cluster.watching import Log
from bench.cluster.zero_drop import Scene
from dev import standin

SERVING_SECONDS = 120


@pytest.fixture(autouse=True)
def case(scene: Scene, log: Log) -> Iterator[Case]:
    case = Case(scene.berth, scene.namespace, log)
    yield case
    case.assert_invariants()


@pytest.fixture(scope="session")
def deaf(scene: Scene) -> str:
    """A model of two replicas whose engines ignore SIGTERM."""
    knobs = {"STANDIN_IGNORE_SIGTERM": "1", "STANDIN_DETERMINISTIC": "1"}
    scene.berth.apply(
        standin.model(
            scene.namespace,
            "deaf",
            "hf://berth/tiny",
            knobs,
            replicas=2,
            resources={"memory": standin.LEAST_MEMORY},
            rollout={"drainTimeoutSeconds": 5},
        )
    )
    scene.berth.wait(
        "deaf",
        lambda status: status.get("readyReplicas") == 2,
        seconds=SERVING_SECONDS,
        namespace=scene.namespace,
    )
    return "deaf"


@pytest.fixture(scope="session")
def stalled(scene: Scene) -> "Iterator[Future[stalls.Outcome]]":
    """What becomes of engines that stand still, in two minutes."""
    stalls.stand(scene)
    with ThreadPoolExecutor(max_workers=1) as beside:
        yield beside.submit(asyncio.run, stalls.freeze(scene))


@pytest.fixture(scope="session", autouse=True)
def begun_early(request: pytest.FixtureRequest, scene: Scene) -> None:
    """So that the other tests pass the time in which an engine stands still."""
    if any("stalled" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("stalled")
