"""Which conditions and taints of a node are believed, and in whose words they are told."""

from typing import Any

import builders
import pytest

from berth_operator.core import node_health
from berth_operator.core.node_health import DEVICE_UNHEALTHY, NODE_UNHEALTHY
from berth_operator.core.observed import Node, Observed, Pod


def condition(kind: str, status: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": status} | more


def node(*conditions: dict[str, str], name: str = "n1", **fields: Any) -> Node:
    return Node(name, {}, {}, conditions=conditions, **fields)


def taint(key: str, value: str = "", effect: str = "NoSchedule") -> dict[str, str]:
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def reason(found: Node) -> str | None:
    told = node_health.fault(found)
    return None if told is None else told.reason


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("Ready", "False", NODE_UNHEALTHY),
        ("Ready", "Unknown", NODE_UNHEALTHY),
        ("NetworkUnavailable", "True", NODE_UNHEALTHY),
        ("GpuMemWatch", "True", DEVICE_UNHEALTHY),  # NVSentinel
        ("SysLogsXIDError", "True", DEVICE_UNHEALTHY),
        ("GPUMissing", "True", DEVICE_UNHEALTHY),  # AKS
        ("NVLinkStatusInactive", "True", DEVICE_UNHEALTHY),
        ("NeuronHealth", "True", DEVICE_UNHEALTHY),
        ("AcceleratedHardwareReady", "False", DEVICE_UNHEALTHY),  # EKS
        ("StorageReady", "False", NODE_UNHEALTHY),
        ("KernelDeadlock", "True", NODE_UNHEALTHY),  # Node Problem Detector
        ("FrequentContainerdRestart", "True", NODE_UNHEALTHY),
    ],
)
def test_a_condition_that_tells_a_fault_is_believed(kind: str, status: str, expected: str) -> None:
    assert reason(node(condition(kind, status))) == expected


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("Ready", "True"),
        ("GpuMemWatch", "False"),
        ("GpuMemWatch", "Unknown"),
        ("AcceleratedHardwareReady", "True"),
        ("AcceleratedHardwareReady", "Unknown"),
        ("NvidiaGpuReady", "True"),
        ("EtcdIsVoter", "True"),  # k3s
        ("MemoryPressure", "True"),  # the kubelet's to relieve
        ("ReadySoon", "False"),
    ],
)
def test_what_is_well_or_not_known_is_no_fault(kind: str, status: str) -> None:
    assert reason(node(condition(kind, status))) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (taint("AggregatedNodeHealth", "False"), NODE_UNHEALTHY),
        (taint("node.kubernetes.io/out-of-service", "nodeshutdown", "NoExecute"), NODE_UNHEALTHY),
        (taint("example.test/gpu-error", "79"), DEVICE_UNHEALTHY),
        (taint("example.test/quarantined"), NODE_UNHEALTHY),
        (taint("AggregatedNodeHealth", "True"), None),
        (taint("nvidia.com/gpu", "present"), None),
        (taint("node.kubernetes.io/unschedulable"), None),
    ],
)
def test_a_taint_is_believed_by_its_key_and_value(found: Any, expected: str | None) -> None:
    assert reason(node(taints=(found,))) == expected


def test_a_cordon_alone_is_no_fault_but_the_node_takes_no_pods() -> None:
    cordoned = node(unschedulable=True)
    assert node_health.fault(cordoned) is None
    assert not node_health.takes_pods(cordoned)
    assert node_health.takes_pods(node())
    assert not node_health.takes_pods(node(condition("Ready", "Unknown")))


def test_the_node_and_the_words_of_the_health_system_are_told() -> None:
    said = condition("GpuMemWatch", "True", reason="IsNotHealthy", message="DBE on GPU 3")
    told = node_health.fault(node(said))
    assert told is not None
    assert told.message == "node n1: condition GpuMemWatch is True (IsNotHealthy): DBE on GPU 3"


def test_of_the_conditions_only_those_that_tell_are_kept_and_without_their_heartbeats() -> None:
    beat = {"lastHeartbeatTime": "2026-01-02T03:04:05Z"}
    kept = node_health.telling([condition("Ready", "True") | beat, condition("XID", "True") | beat])
    assert kept == [condition("XID", "True")]


def observed(*nodes: Node, pod: dict[str, Any]) -> Observed:
    return builders.observed(nodes=nodes, pods=(Pod(pod),))


def test_only_nodes_that_the_models_pods_are_on_matter_to_it() -> None:
    ill = condition("Ready", "False")
    look = observed(node(ill, name="node-1"), node(ill, name="other"), pod=builders.engine_pod("r"))
    assert node_health.faults(look).keys() == {"node-1"}


def test_a_node_that_is_gone_is_a_fault_of_the_pods_on_it_where_nodes_may_be_read() -> None:
    pod = builders.engine_pod("r")
    found = node_health.faults(observed(node(name="other"), pod=pod))
    assert found["node-1"].message == "node node-1 is gone"
    assert found["node-1"].reason == NODE_UNHEALTHY
    assert node_health.faults(observed(pod=pod)) == {}
    del pod["spec"]["nodeName"]
    assert node_health.faults(observed(node(name="other"), pod=pod)) == {}


@pytest.mark.parametrize(
    ("nodes", "lost"),
    [
        ((node(condition("Ready", "Unknown"), name="node-1"),), True),
        ((node(name="other"),), True),  # its own is gone
        ((node(name="node-1"),), False),
        ((node(condition("GpuMemWatch", "True"), name="node-1"),), False),  # its kubelet is there
        ((), False),  # nodes may not be read here
    ],
)
def test_a_pod_that_ends_where_no_kubelet_is_has_lost_its_place(
    nodes: tuple[Node, ...], lost: bool
) -> None:
    pod = builders.engine_pod("r")
    pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert node_health.is_lost(observed(*nodes, pod=pod), pod) is lost


def test_a_pod_that_does_not_end_is_not_lost() -> None:
    pod = builders.engine_pod("r")
    assert not node_health.is_lost(observed(node(name="other"), pod=pod), pod)
