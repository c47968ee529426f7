"""Ill nodes and failing pods on a real API server: read, told, routed around, and never a loop."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from operator_process import Models, OperatorProcess
from said_nodes import POOL, REFUSAL_SECONDS, SaidNode, SaidPods, beating, is_routed

from berth_api import names
from berth_operator.core.rollout.backoff import FAILURES
from berth_operator.core.rollout.reaping import KEPT
from berth_operator.core.rollout.set_aside import ANNOTATION_SET_ASIDE
from dev.kubectl import Kubectl

Object = dict[str, Any]
Start = Callable[..., OperatorProcess]


@dataclass(frozen=True)
class Cluster:
    """Two nodes with room for one replica each, and the operator's only model."""

    models: Models
    nodes: list[SaidNode]
    pods: SaidPods

    def begin(self, start: Start, *, replicas: int) -> None:
        start()
        self.models.create(
            replicas=replicas,
            rollout={"drainTimeoutSeconds": 1},
            podTemplate={"nodeSelector": {POOL: self.models.namespace}},
        )
        self.models.read_shape()

    def serve(self, replicas: int) -> None:
        def serve() -> bool:
            for node in self.nodes:
                for pod in self.pods.on(node.name):
                    self.pods.serve(pod)
            ready: int = self.models.status().get("readyReplicas", 0)
            return ready == replicas

        self.models.wait_for(f"{replicas} replicas that serve", serve)

    def routed(self) -> dict[str, bool]:
        """By node, whether its pod takes requests."""
        found = {node.name: self.pods.on(node.name) for node in self.nodes}
        return {name: is_routed(pod) for name, pods in found.items() for pod in pods}

    def size(self) -> int:
        found = self.models.kubectl.json("get", "deployments", "-n", self.models.namespace)
        (deployment,) = found["items"]
        size: int = deployment["spec"]["replicas"]
        return size

    def wait_for_reason(self, reason: str, words: str = "") -> Object:
        """`words` of its message: a status may have had the reason before, with others."""

        def told() -> bool:
            status = self.models.status()
            return status.get("reason") == reason and words in status["message"]

        self.models.wait_for(f"{reason} {words}", told)
        return self.models.status()


@pytest.fixture
def cluster(kubectl: Kubectl, models: Models) -> Iterator[Cluster]:
    space = models.namespace
    one_replica = {"cpu": "1500m", "memory": "1Ti"}
    nodes = [
        SaidNode(kubectl.kubeconfig, space, f"{space}-{letter}", host=one_replica)
        for letter in "ab"
    ]
    with beating(nodes):
        for node in nodes:
            node.make()
        yield Cluster(models, nodes, SaidPods(kubectl.kubeconfig, space))


def test_a_pod_on_a_node_with_a_broken_card_takes_no_requests_until_the_card_is_well(
    cluster: Cluster, start: Start
) -> None:
    cluster.begin(start, replicas=2)
    cluster.serve(2)
    ill, well = (node.name for node in cluster.nodes)
    cluster.nodes[0].say("GpuMemWatch", "True", reason="IsNotHealthy", message="DBE on GPU 3")
    cluster.models.wait_for("a detour", lambda: cluster.routed() == {ill: False, well: True})
    told = cluster.wait_for_reason("DeviceUnhealthy")
    assert f"node {ill}: condition GpuMemWatch is True (IsNotHealthy): DBE" in told["message"]
    assert (told["lastFailure"]["node"], told["phase"]) == (ill, "Serving")
    (pod,) = cluster.pods.on(ill)
    assert pod["metadata"]["annotations"][ANNOTATION_SET_ASIDE] == "DeviceUnhealthy"
    cluster.nodes[0].say("GpuMemWatch", "False", reason="IsHealthy")
    cluster.models.wait_for("both routes", lambda: cluster.routed() == {ill: True, well: True})
    cluster.wait_for_reason("Serving")
    (pod,) = cluster.pods.on(ill)
    assert ANNOTATION_SET_ASIDE not in pod["metadata"].get("annotations", {})


def test_the_only_pod_of_a_model_serves_on_and_the_taint_on_its_node_is_told(
    cluster: Cluster, start: Start
) -> None:
    cluster.begin(start, replicas=1)
    cluster.serve(1)
    (name,) = cluster.routed()
    (node,) = (one for one in cluster.nodes if one.name == name)
    taint = {"key": "AggregatedNodeHealth", "value": "False", "effect": "NoSchedule"}
    node.change(taints=[taint], unschedulable=True)
    told = cluster.wait_for_reason("NodeUnhealthy")
    assert f"node {name}: taint AggregatedNodeHealth=False:NoSchedule" in told["message"]
    assert cluster.routed() == {name: True}
    ready = next(one for one in told["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Degraded")


def test_pods_that_a_kubelet_refuses_are_reaped_and_are_not_made_without_end(
    cluster: Cluster, start: Start
) -> None:
    cluster.begin(start, replicas=1)
    cluster.models.wait_for("a pod", lambda: bool(cluster.pods.all()))
    refused: set[str] = set()

    def refuse() -> bool:
        for node in cluster.nodes:
            for pod in cluster.pods.on(node.name):
                refused.add(pod["metadata"]["name"])
                cluster.pods.refuse(pod)
                time.sleep(REFUSAL_SECONDS)
        return cluster.size() == 0

    cluster.models.wait_for("a pause", refuse)
    assert FAILURES <= len(refused) <= 4 * FAILURES
    told = cluster.wait_for_reason("DeviceUnhealthy", "it is tried again at 20")
    assert "no healthy devices present" in told["message"]
    cluster.models.wait_for("fewer pods", lambda: len(cluster.pods.failed()) <= KEPT)
    cluster.models.wait_for("the next try", lambda: cluster.size() == 1, seconds=40)
    cluster.serve(1)
    cluster.wait_for_reason("Serving")


def test_evicted_pods_are_reaped_while_the_model_serves(cluster: Cluster, start: Start) -> None:
    cluster.begin(start, replicas=1)
    evicted: set[str] = set()
    for _ in range(KEPT + 2):
        cluster.serve(1)
        (name,) = cluster.routed()
        (pod,) = cluster.pods.on(name)
        evicted.add(pod["metadata"]["name"])
        cluster.pods.evict(pod)
        cluster.models.wait_for("another", lambda: bool(cluster.routed()))
    cluster.serve(1)
    assert len(evicted) == KEPT + 2
    cluster.models.wait_for("fewer pods", lambda: len(cluster.pods.failed()) == KEPT)
    assert {pod["metadata"]["name"] for pod in cluster.pods.failed()} < evicted


def test_a_plan_that_never_starts_gets_a_pause_and_another_spec_ends_it(
    cluster: Cluster, start: Start
) -> None:
    cluster.begin(start, replicas=1)
    cluster.models.wait_for("a place", lambda: bool(cluster.routed()))
    (name,) = cluster.routed()
    (pod,) = cluster.pods.on(name)
    cluster.pods.crash(pod, FAILURES)
    cluster.models.wait_for("a pause", lambda: cluster.size() == 0)
    told = cluster.wait_for_reason("CrashLoop", "it is tried again at 20")
    assert "no kernel for this card" in told["message"]
    assert "currentRevision" not in told
    cluster.models.wait_for("its event", lambda: "RolloutBlocked" in cluster.models.events())
    cluster.models.edit(names.PLURAL, "smol", {"spec": {"runtime": {"maxModelLen": 4096}}})
    cluster.models.wait_for("the other spec's pod", lambda: cluster.size() == 1)
    cluster.serve(1)
    assert cluster.models.status()["currentRevision"] == cluster.models.status()["updateRevision"]
