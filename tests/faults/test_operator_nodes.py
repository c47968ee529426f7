"""Cards that are not there, nodes that fall ill, numbers that make no sense."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from operator_site import Site, wait_for
from said_gateway import SaidGateway
from said_nodes import POOL, REFUSAL_SECONDS, SaidNode, SaidPods, beating, is_routed

from berth_operator.core.rollout.backoff import FAILURES
from berth_operator.core.rollout.reaping import KEPT
from berth_operator.core.scaling.demand import FIRST_REPORT_SECONDS

Object = dict[str, Any]

AUTO = {"mode": "Auto", "maxReplicas": 4, "targetQueueDepth": 4, "scaleDownDelaySeconds": 1}
TOLD_SECONDS = 15.0  # from the lack of a card to the status
EJECTED_SECONDS = 3.0
REPLACED_SECONDS = 60.0
SETTLE_SECONDS = 30.0
HELD_SECONDS = 6.0  # several looks at a model that is under load
PROFILE = {"name": "gpu", "engineProfile": "vllm", "resource": "nvidia.com/gpu", "cpu": "1"}


@pytest.fixture
def pods(site: Site) -> SaidPods:
    return SaidPods(site.plane.kubeconfig, site.namespace)


@pytest.fixture
def nodes(site: Site) -> Iterator[Callable[..., SaidNode]]:
    """Makes nodes that beat until the test is over."""
    made: list[SaidNode] = []

    def make(letter: str, **fields: Any) -> SaidNode:
        name = f"{site.namespace}-{letter}"
        node = SaidNode(site.plane.kubeconfig, site.namespace, name, **fields)
        node.make()
        made.append(node)
        return node

    with beating(made):
        yield make


@pytest.fixture
def gateway(site: Site) -> Iterator[SaidGateway]:
    with SaidGateway(site.kubectl, site.namespace).running() as running:
        yield running


def create(site: Site, **spec: Any) -> None:
    site.create("smol", podTemplate={"nodeSelector": {POOL: site.namespace}}, **spec)


def status(site: Site) -> Object:
    found: Object = site.model("smol").get("status", {})
    return found


def condition(site: Site, kind: str) -> tuple[str, str]:
    found = {one["type"]: one for one in status(site).get("conditions", [])}.get(kind, {})
    return found.get("status", ""), found.get("reason", "")


def size(site: Site) -> int:
    found: int = site.deployment("smol")["spec"]["replicas"]
    return found


def serve(site: Site, pods: SaidPods, replicas: int, *nodes: SaidNode) -> None:
    """So many at least: where more are wanted, the next may come in the same moment."""

    def serving() -> bool:
        for node in nodes:
            for pod in pods.on(node.name):
                pods.serve(pod)
        return bool(status(site).get("readyReplicas", 0) >= replicas)

    wait_for(f"{replicas} replicas that serve", serving, seconds=SETTLE_SECONDS)


def line(site: Site, **numbers: Any) -> bytes:
    """A gateway's line, with whatever stands in the numbers' places."""
    model = {"namespace": site.namespace, "model": "smol"} | numbers
    told = {"gateway": "process-1", "synced": True, "models": [model]}
    return json.dumps(told).encode() + b"\n"


NONSENSE: tuple[dict[str, Any], ...] = (
    {"held": "many"},
    {"held": -7},
    {"oldest_held_seconds": float("nan")},
    {"oldest_held_seconds": float("inf")},
    {"in_flight": {"a": -1}},
)


def under_load(site: Site, gateway: SaidGateway) -> int:
    """A model that Berth sizes; its replicas."""
    site.elected = False
    site.start()
    create(site, scaling=AUTO, keepAlive="1s")
    site.wait_until_converged("smol")
    gateway.say(held=11, oldest_held_seconds=0.1, arrivals=1000, answered=989)
    wait_for("replicas", lambda: size(site) >= 3, seconds=SETTLE_SECONDS)
    return size(site)


def test_fault_30_numbers_that_make_no_sense_or_do_not_come_change_no_replicas_and_are_told(
    site: Site, gateway: SaidGateway
) -> None:
    before = under_load(site, gateway)
    gateway.be_silent(silent=True)
    for numbers in NONSENSE:
        wait_for("a listener", lambda: gateway.fake.connected, seconds=SETTLE_SECONDS)
        calls = gateway.fake.calls
        gateway.send(line(site, **numbers))
        wait_for(
            "another call",
            lambda calls=calls: gateway.fake.calls > calls,
            seconds=SETTLE_SECONDS,
        )
        assert size(site) == before
    wait_for(
        "the condition",
        lambda: condition(site, "ScalingActive") == ("False", "MetricsUnavailable"),
        seconds=FIRST_REPORT_SECONDS + SETTLE_SECONDS,
    )
    assert size(site) == before
    gateway.be_silent(silent=False)
    gateway.say(held=11, oldest_held_seconds=0.1, arrivals=1000, answered=989)
    wait_for("sense", lambda: condition(site, "ScalingActive")[0] == "True", seconds=SETTLE_SECONDS)
    assert size(site) == before


def test_fault_30_a_counter_that_begins_anew_changes_no_replicas(
    site: Site, gateway: SaidGateway
) -> None:
    before = under_load(site, gateway)
    for arrivals in (1001, 0, 1, 1000):
        gateway.say(held=11, oldest_held_seconds=0.1, arrivals=arrivals, answered=0)
        time.sleep(HELD_SECONDS / 4)
        assert size(site) == before


def test_fault_34_without_a_card_it_is_told_in_numbers_not_scaled_and_recovers(
    site: Site, gateway: SaidGateway, nodes: Callable[..., SaidNode], pods: SaidPods
) -> None:
    site.elected = False
    profile = PROFILE | {"nodeSelector": {POOL: site.namespace}}
    operator = site.new()
    operator.configured = {"acceleratorProfiles": [profile]}
    operator.start().wait_until_ready()
    node = nodes("a", cards=2)
    create(site, scaling=AUTO | {"minReplicas": 1})
    site.wait_until_converged("smol")
    wait_for("a place", lambda: bool(pods.on(node.name)), seconds=SETTLE_SECONDS)
    node.offer(0)
    for pod in pods.on(node.name):  # it was there before the cards went
        pods.refuse(pod)
    took = wait_for(
        "the reason",
        lambda: condition(site, "Scheduled") == ("False", "InsufficientGPU"),
        seconds=TOLD_SECONDS,
    )
    print(f"from the lack of a card to the status: {took:.1f} s")
    assert "1 Insufficient nvidia.com/gpu" in status(site)["message"]
    gateway.say(held=50, oldest_held_seconds=1.0)
    time.sleep(HELD_SECONDS)
    assert size(site) == 1
    node.offer(2)
    serve(site, pods, 1, node)
    gateway.say(held=0)


def test_fault_35_pods_of_a_node_that_is_not_heard_are_replaced(
    site: Site, nodes: Callable[..., SaidNode], pods: SaidPods
) -> None:
    site.elected = False
    site.start()
    one, other = nodes("a"), nodes("b")
    create(site, replicas=1)
    wait_for(
        "a place", lambda: bool(pods.on(one.name) or pods.on(other.name)), seconds=SETTLE_SECONDS
    )
    lost, left = (one, other) if pods.on(one.name) else (other, one)
    serve(site, pods, 1, lost)
    lost.say("Ready", "False", reason="KubeletNotReady", message="container runtime is down")
    told = wait_for(
        "the reason", lambda: status(site)["reason"] == "NodeUnhealthy", seconds=TOLD_SECONDS
    )
    assert "container runtime is down" in status(site)["message"]
    took = wait_for("a replacement", lambda: bool(pods.on(left.name)), seconds=REPLACED_SECONDS)
    print(f"from not ready to the reason: {told:.1f} s, to a replacement: {told + took:.1f} s")
    serve(site, pods, 1, left)
    wait_for("its service", lambda: status(site)["reason"] == "Serving", seconds=TOLD_SECONDS)
    pods.end(lost.name)


def test_fault_35_a_pod_whose_card_fails_is_routed_around_within_seconds(
    site: Site, nodes: Callable[..., SaidNode], pods: SaidPods
) -> None:
    site.elected = False
    site.start()
    small = {"cpu": "1500m", "memory": "1Ti"}
    ill, well = nodes("a", host=small), nodes("b", host=small)
    create(site, replicas=2)
    serve(site, pods, 2, ill, well)
    ill.say("SysLogsXIDError", "True", reason="IsNotHealthy", message="XID 79 on GPU 0")
    took = wait_for(
        "its ejection",
        lambda: not any(map(is_routed, pods.on(ill.name))),
        seconds=EJECTED_SECONDS,
    )
    print(f"from the condition to the route's end: {took:.1f} s")
    assert all(map(is_routed, pods.on(well.name)))
    wait_for(
        "the reason", lambda: status(site)["reason"] == "DeviceUnhealthy", seconds=TOLD_SECONDS
    )


def test_fault_35_pods_that_a_kubelet_refuses_are_reaped_and_the_model_comes_back(
    site: Site, nodes: Callable[..., SaidNode], pods: SaidPods
) -> None:
    site.elected = False
    site.start()
    node = nodes("a")
    create(site, replicas=1)
    site.wait_until_converged("smol")
    refused = 0

    def paused() -> bool:
        nonlocal refused
        for pod in pods.on(node.name):
            pods.refuse(pod)
            refused += 1
            time.sleep(REFUSAL_SECONDS)
        return size(site) == 0

    wait_for("a pause", paused, seconds=SETTLE_SECONDS)
    assert FAILURES <= refused <= 4 * FAILURES
    wait_for(
        "the reason", lambda: status(site)["reason"] == "DeviceUnhealthy", seconds=TOLD_SECONDS
    )

    def reaped() -> bool:
        pods.end(node.name)  # one that the pause ended while it was refused is the kubelet's to end
        return len(pods.failed()) <= KEPT

    wait_for("their end", reaped, seconds=SETTLE_SECONDS)
    wait_for("another try", lambda: size(site) == 1, seconds=REPLACED_SECONDS)
    serve(site, pods, 1, node)
