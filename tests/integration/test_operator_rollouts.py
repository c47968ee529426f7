"""Sizes and roll-outs on a real API server, with its ReplicaSets and scheduler.

Nodes have no kubelet: the tests say what it would, and end pods in its place.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from gpu_nodes import GpuNode
from operator_process import Models, OperatorProcess

from berth_api import names
from berth_api.shape import Failure
from berth_operator.core.rollout.draining import ANNOTATION_COST
from dev.kubectl import Kubectl

DRAIN_SECONDS = 5  # nobody answers for these pods, so each drain takes its whole time

Start = Callable[..., OperatorProcess]


@dataclass(frozen=True)
class Node:
    """A node with CPUs for so many replicas, and what its kubelet would do."""

    kubectl: Kubectl
    namespace: str

    def make(self, replicas: int) -> None:
        host = {"cpu": str(replicas), "memory": "1Ti"}
        body = GpuNode(self.namespace, {"pool": self.namespace}, {}, host).body()
        self.kubectl("create", "-f", "-", stdin=json.dumps(body))
        ready = {"type": "Ready", "status": "True", "reason": "Said"}
        self._say("node", self.namespace, body["status"] | {"conditions": [ready]})

    def pods(self, revision: str | None = None) -> list[dict[str, Any]]:
        label = f"{names.LABEL_ROLE}={names.ROLE_ENGINE}"
        label += f",{names.LABEL_REVISION}={revision}" if revision else ""
        found = self.kubectl.json("get", "pods", "--namespace", self.namespace, "-l", label)
        pods: list[dict[str, Any]] = found["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, replicas: int, revision: str | None = None) -> None:
        """So many pods have their places, and serve."""

        def placed() -> list[dict[str, Any]]:
            return [pod for pod in self.pods(revision) if "nodeName" in pod["spec"]]

        _wait(f"{replicas} pods with a place", lambda: len(placed()) == replicas)
        for pod in placed():
            self._say("pod", pod["metadata"]["name"], {"conditions": [_READY]})

    def end_pods(self) -> None:
        """Those that are to end have ended."""
        found = self.kubectl.json("get", "pods", "--namespace", self.namespace)["items"]
        for pod in found:
            if "deletionTimestamp" in pod["metadata"]:
                name = pod["metadata"]["name"]
                space = ("--namespace", self.namespace)
                self.kubectl("delete", "pod", name, *space, "--force", "--grace-period=0")

    def _say(self, kind: str, name: str, status: dict[str, Any]) -> None:
        patch = json.dumps({"status": status})
        place = () if kind == "node" else ("--namespace", self.namespace)
        self.kubectl(
            "patch", kind, name, *place, "--subresource=status", "--type=strategic", "-p", patch
        )


_READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}


@pytest.fixture
def node(kubectl: Kubectl, namespace: str) -> Iterator[Node]:
    yield Node(kubectl, namespace)
    kubectl("delete", "node", namespace, "--wait=false", "--ignore-not-found")


def _wait(what: str, ready: Callable[[], bool], *, seconds: float = 40.0) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, f"no {what} within {seconds} s"
        time.sleep(0.1)


def serve(models: Models, start: Start, node: Node, *, places: int, replicas: int) -> str:
    """A model whose replicas all serve; its revision."""
    node.make(places)
    start()
    models.create(
        replicas=replicas,
        rollout={"drainTimeoutSeconds": DRAIN_SECONDS},
        podTemplate={"nodeSelector": {"pool": models.namespace}},
    )
    models.read_shape()
    node.ready(replicas)
    models.wait_for("replicas", lambda: models.status().get("readyReplicas") == replicas)
    revision: str = models.status()["currentRevision"]
    return revision


def update(models: Models) -> None:
    models.edit(names.PLURAL, "smol", {"spec": {"runtime": {"maxModelLen": 4096}}})


def replicas(models: Models) -> dict[str, int]:
    found = models.kubectl.json("get", "deployments", "--namespace", models.namespace)["items"]
    return {
        one["metadata"]["labels"][names.LABEL_REVISION]: one["spec"]["replicas"] for one in found
    }


def is_open(pod: dict[str, Any]) -> bool:
    return names.LABEL_ROUTE in pod["metadata"]["labels"]


def closed(node: Node) -> list[dict[str, Any]]:
    return [pod for pod in node.pods() if not is_open(pod)]


def test_a_replica_is_drained_before_it_goes_and_it_is_the_one_that_goes(
    models: Models, start: Start, node: Node
) -> None:
    revision = serve(models, start, node, places=3, replicas=3)
    models.edit(names.PLURAL, "smol", {"spec": {"replicas": 2}})
    models.wait_for("a drain", lambda: len(closed(node)) == 1)
    (victim,) = closed(node)
    assert names.ANNOTATION_DRAINING in victim["metadata"]["annotations"]
    assert replicas(models) == {revision: 3}
    models.wait_for("the count", lambda: models.status()["readyReplicas"] == 2)
    models.wait_for("fewer replicas", lambda: replicas(models) == {revision: 2})
    models.wait_for("two pods", lambda: len(node.pods()) == 2)
    assert victim["metadata"]["name"] not in {pod["metadata"]["name"] for pod in node.pods()}
    assert all(is_open(pod) for pod in node.pods())


def test_a_replica_that_is_wanted_again_takes_requests_again(
    models: Models, start: Start, node: Node
) -> None:
    revision = serve(models, start, node, places=2, replicas=2)
    models.edit(names.PLURAL, "smol", {"spec": {"replicas": 1}})
    models.wait_for("a drain", lambda: len(closed(node)) == 1)
    models.edit(names.PLURAL, "smol", {"spec": {"replicas": 2}})
    models.wait_for("no drain", lambda: not closed(node))
    assert replicas(models) == {revision: 2}
    for pod in node.pods():
        annotations = pod["metadata"].get("annotations", {})
        assert not {names.ANNOTATION_DRAINING, ANNOTATION_COST} & annotations.keys()


def test_with_a_spare_place_the_new_revision_serves_before_the_old_one_drains(
    models: Models, start: Start, node: Node
) -> None:
    old = serve(models, start, node, places=2, replicas=1)
    update(models)
    models.wait_for("a surge", lambda: len(replicas(models)) == 2)
    new = next(name for name in replicas(models) if name != old)
    assert not closed(node)
    node.ready(1, new)
    models.wait_for("one Deployment", lambda: replicas(models) == {new: 1})
    node.end_pods()
    models.wait_for("the end", lambda: models.status()["currentRevision"] == new)
    assert models.status()["readyReplicas"] == 1


def test_without_a_spare_place_one_old_pod_after_the_other_makes_room(
    models: Models, start: Start, node: Node
) -> None:
    old = serve(models, start, node, places=2, replicas=2)
    update(models)
    models.wait_for("a surge", lambda: len(replicas(models)) == 2)
    new = next(name for name in replicas(models) if name != old)
    for done in (1, 2):
        models.wait_for("a drain", lambda: len(closed(node)) == 1)
        assert len(node.pods(old)) == 3 - done
        models.wait_for(
            "a place", lambda done=done: replicas(models).get(old, 0) == 2 - done, seconds=40
        )
        models.wait_for("its going", lambda done=done: len(node.pods(old)) == 2 - done)
        node.end_pods()
        node.ready(done, new)
    models.wait_for("one Deployment", lambda: replicas(models) == {new: 2})
    models.wait_for("the end", lambda: models.status().get("readyReplicas") == 2)
    assert models.status()["currentRevision"] == new


def test_an_update_that_fails_in_an_old_ones_place_is_given_up_for_it(
    models: Models, start: Start, node: Node
) -> None:
    old = serve(models, start, node, places=1, replicas=1)
    update(models)
    models.wait_for("the place", lambda: replicas(models).get(old) == 0, seconds=40)
    node.end_pods()
    new = models.status()["updateRevision"]
    models.fail_engine(Failure(reason="UnsupportedArchitecture", message="no such thing"))
    models.wait_for("the old one", lambda: replicas(models) == {old: 1, new: 0})
    node.end_pods()
    node.ready(1, old)
    models.wait_for("its service", lambda: models.status().get("readyReplicas") == 1)
    told = models.status()
    assert (told["blockedRevision"], told["currentRevision"]) == (new, old)
    progressing = next(one for one in told["conditions"] if one["type"] == "Progressing")
    assert progressing["reason"] == "RolloutBlocked"
    assert "no such thing" in progressing["message"]
    models.wait_for("its event", lambda: "RolloutBlocked" in models.events())
