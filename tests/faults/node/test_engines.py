"""Engines that do not end when they are told to, and engines that stand still."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pod_processes
import pytest
import stalls
from fault_case import Case, ends, shown
from fault_traffic import engine_pods, pace_for, short
from stalls import BUSY, BUSY_SECONDS, HUNG, Outcome

from bench.cluster.traffic import Clients, End, Result
from bench.cluster.zero_drop import Scene

if TYPE_CHECKING:
    from concurrent.futures import Future

# What the pod template gives an engine that stands still, and with the watcher's own step.
STALLED_SECONDS = 120.0
ENDED_BY_SECONDS = 130.0
# The test's own patience: the stall's time and twice the tests' around it.
ENDED_SECONDS = 240.0
# Kubernetes' own times have whole seconds.
ROUNDING_SECONDS = 1.0
# The kubelet's own work around a pod's end, on a busy node.
KUBELET_SECONDS = 8.0
HEARD_SECONDS = 5.0  # of a pod's end by whoever watches, on a busy machine
ASKED_SECONDS = 10.0
# Until a restarted stand-in serves again and the status has told why.
BACK_SECONDS = 60.0


@pytest.fixture
def found(scene: Scene, stalled: "Future[Outcome]") -> Iterator[Outcome]:
    yield stalled.result(ENDED_SECONDS)
    stalls.remove(scene)  # the next tests need its memory


@contextmanager
def log_kept(scene: Scene, pod: dict[str, Any], path: Path) -> Iterator[None]:
    """The pod's log as it is written, also when the pod has gone."""
    kubectl = scene.berth.kubectl
    with path.open("wb") as kept:
        command = [kubectl.program, "--kubeconfig", kubectl.kubeconfig, "logs", "--follow"]
        follower = subprocess.Popen(
            [*command, pod["metadata"]["name"], "-n", scene.namespace], stdout=kept
        )
        try:
            yield
        finally:
            follower.terminate()
            follower.wait()


def test_fault_29_an_engine_that_hangs_is_ended_once_and_a_busy_one_never(
    scene: Scene, found: Outcome
) -> None:
    """Both answer `/health` and show their metrics all the while."""
    assert found.cut > 0
    assert ends(found.streams) == {End.TOLD: found.cut}, shown(found.streams)
    assert ends(found.later) == {}, shown(found.later)
    assert ends(found.busy) == {}, shown(found.busy)
    assert min(one.total for one in found.busy) >= BUSY_SECONDS - ROUNDING_SECONDS

    scene.berth.wait(
        HUNG,
        lambda status: (
            status.get("lastFailure", {}).get("reason") == "EngineStalled"
            and status.get("readyReplicas") == stalls.REPLICAS[HUNG]
        ),
        seconds=BACK_SECONDS,
        namespace=scene.namespace,
    )
    statuses = {
        pod["metadata"]["name"]: status
        for pod in engine_pods(scene, HUNG) + engine_pods(scene, BUSY)
        for status in pod["status"]["containerStatuses"]
    }
    restarted = {name: one["restartCount"] for name, one in statuses.items() if one["restartCount"]}
    assert restarted == {found.victim: 1}
    ended = statuses[found.victim]["lastState"]["terminated"]
    lasted = datetime.fromisoformat(ended["finishedAt"]).timestamp() - found.frozen_at
    assert STALLED_SECONDS - ROUNDING_SECONDS <= lasted <= ENDED_BY_SECONDS
    assert "EngineStalled" in ended["message"]
    described = scene.berth.kubectl("describe", "mdep", HUNG, "-n", scene.namespace)
    assert "EngineStalled" in described.partition("Events:")[2]


def test_fault_26_what_ignores_sigterm_is_killed_in_time_and_the_rest_is_fine(
    scene: Scene, case: Case, deaf: str, tmp_path: Path
) -> None:
    """One engine that ignores the signal, which its wrapper ends, and one wrapper that is frozen."""
    stubborn, frozen = engine_pods(scene, deaf)
    names_of = {pod["metadata"]["name"] for pod in (stubborn, frozen)}
    grace = float(frozen["spec"]["terminationGracePeriodSeconds"])
    log = tmp_path / "log"
    with log_kept(scene, stubborn, log):
        os.kill(pod_processes.pid(frozen, "berth_server"), signal.SIGSTOP)
        began = time.time()
        scene.berth.kubectl("delete", "pod", *names_of, "-n", scene.namespace, "--wait=false")
        results = asyncio.run(_asked(scene, deaf))

        def gone() -> dict[str, float]:
            return {
                one.object["metadata"]["name"]: one.at - began
                for one in case.seen("Pod")
                if one.type == "DELETED" and one.object["metadata"]["name"] in names_of
            }

        scene.berth.wait_until(
            "both are gone",
            lambda: gone().keys() == names_of,
            seconds=grace + KUBELET_SECONDS + HEARD_SECONDS,
        )
    assert gone()[stubborn["metadata"]["name"]] < grace
    assert grace - ROUNDING_SECONDS <= gone()[frozen["metadata"]["name"]] <= grace + KUBELET_SECONDS
    assert "SIGTERM; it is killed" in log.read_text()
    assert ends(results) == {}, shown(results)


async def _asked(scene: Scene, model: str) -> list[Result]:
    async with Clients(scene.berth.url, scene.berth.key) as clients:
        await pace_for(clients, short(model), ASKED_SECONDS)
    return clients.results
