"""What ails a node, in the words of whoever watches it: read and routed around, never mended.

Kubernetes has no word for a broken card. Each health system sets conditions and taints with names
of its own, and some names are true of a healthy node. So what is believed is a table, by name.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from berth_operator.core.kubernetes import is_terminating
from berth_operator.core.observed import Node, Object, Observed

NODE_UNHEALTHY: Final = "NodeUnhealthy"
DEVICE_UNHEALTHY: Final = "DeviceUnhealthy"

_MESSAGE_CHARS: Final = 256  # of a foreign message: one sentence
_NAMES: Final = 256  # of conditions and taints that are remembered: a cluster has some dozens
_FALSE: Final = frozenset({"False"})
_TRUE: Final = frozenset({"True"})
_DEVICES: Final = r"gpu|nvlink|nvswitch|xid|dcgm|infiniband|iblink|neuron|accelerator"


@dataclass(frozen=True)
class NodeFault:
    """`reason` is typed; `message` names the node, and the condition or taint word for word."""

    node: str
    reason: str
    message: str


class _Sign(NamedTuple):
    """A condition of this name tells a fault while it has one of these states."""

    name: str  # a regular expression for the whole of it
    states: frozenset[str]
    reason: str


# The first row that matches a condition's type decides. What no row knows is not believed: k3s has
# EtcdIsVoter=True on its best nodes. Pressure on memory, disk and PIDs is the kubelet's to relieve.
_CONDITIONS: Final = (
    # The kubelet's own; Unknown is the node controller's, of a kubelet that it does not hear.
    _Sign("Ready", frozenset({"False", "Unknown"}), NODE_UNHEALTHY),
    _Sign("NetworkUnavailable", _TRUE, NODE_UNHEALTHY),
    # EKS's node monitoring agent, and whoever names a condition after what is well.
    _Sign("AcceleratedHardwareReady", _FALSE, DEVICE_UNHEALTHY),
    _Sign("(Kernel|Networking|Storage|ContainerRuntime)Ready", _FALSE, NODE_UNHEALTHY),
    _Sign(rf"(?i:.*({_DEVICES}).*(ready|healthy|available))", _FALSE, DEVICE_UNHEALTHY),
    # NVSentinel (GpuMemWatch, SysLogsXIDError), and the GPU checks of Node Problem Detector, GCM
    # and the clouds (GPUMissing, NVLinkStatusInactive, NeuronHealth): True while the check fails.
    _Sign(rf"(?i:.*({_DEVICES}).*)", _TRUE, DEVICE_UNHEALTHY),
    # Node Problem Detector's own.
    _Sign(
        r"KernelDeadlock|ReadonlyFilesystem|Corrupt\w+|Frequent\w+Restart", _TRUE, NODE_UNHEALTHY
    ),
)

# Taints, by key and value as "key=value". Those that go with a condition above are not repeated.
_TAINTS: Final = (
    ("AggregatedNodeHealth=False", NODE_UNHEALTHY),  # NVSentinel
    (r"node\.kubernetes\.io/out-of-service=.*", NODE_UNHEALTHY),  # an administrator
    (r"node\.cloudprovider\.kubernetes\.io/shutdown=.*", NODE_UNHEALTHY),  # a cloud's controller
    (rf"(?i:.*({_DEVICES})\W?(health|error|fault|fail).*)", DEVICE_UNHEALTHY),
    (r"(?i:.*(unhealthy|quarantine).*)", NODE_UNHEALTHY),
)


def fault(node: Node) -> NodeFault | None:
    """The first that a condition or a taint tells; a cordon alone is none."""
    found = (*_of_conditions(node), *_of_taints(node))
    return found[0] if found else None


def takes_pods(node: Node) -> bool:
    """Whether new pods may go there: it is not cordoned, and nobody says that it is ill."""
    return not node.unschedulable and fault(node) is None


def telling(conditions: Iterable[Object]) -> list[dict[str, Any]]:
    """Those that tell a fault, without the times that change with every heartbeat."""
    return [
        {name: one[name] for name in ("type", "status", "reason", "message") if name in one}
        for one in conditions
        if _reason_of(one) is not None
    ]


def faults(observed: Observed) -> Mapping[str, NodeFault]:
    """By node, of those that the model's pods are on. None where nodes may not be read."""
    if not observed.nodes:
        return {}
    used = {pod.object["spec"].get("nodeName") for pod in observed.engines} - {None}
    known = [node for node in observed.nodes if node.name in used]
    gone = used - {node.name for node in known}
    found = [fault(node) for node in known]
    found += [NodeFault(name, NODE_UNHEALTHY, f"node {name} is gone") for name in sorted(gone)]
    return {one.node: one for one in found if one is not None}


def is_lost(observed: Observed, pod: Object) -> bool:
    """Whether it ends on a node that is gone, or not heard: nobody is there to say that it has."""
    return is_terminating(pod) and is_unheard(observed.nodes, pod["spec"].get("nodeName"))


def is_unheard(nodes: Collection[Node], name: str | None) -> bool:
    """Whether a node is gone or not heard; not known where nodes may not be read."""
    if name is None or not nodes:
        return False
    found = next((one for one in nodes if one.name == name), None)
    return found is None or any(one["type"] == "Ready" for one in telling(found.conditions))


def _of_conditions(node: Node) -> Iterable[NodeFault]:
    for one in node.conditions:
        reason = _reason_of(one)
        if reason is not None:
            why = f" ({one['reason']})" if one.get("reason") else ""
            words = f": {one['message'][:_MESSAGE_CHARS]}" if one.get("message") else ""
            what = f"node {node.name}: condition {one['type']} is {one['status']}{why}{words}"
            yield NodeFault(node.name, reason, what)


def _of_taints(node: Node) -> Iterable[NodeFault]:
    for one in node.taints:
        said = f"{one['key']}={one.get('value', '')}"
        reason = _reason_of_taint(said)
        if reason is not None:
            yield NodeFault(node.name, reason, f"node {node.name}: taint {said}:{one['effect']}")


def _reason_of(condition: Object) -> str | None:
    sign = _sign(condition["type"])
    return sign.reason if sign is not None and condition["status"] in sign.states else None


@lru_cache(maxsize=_NAMES)
def _sign(name: str) -> _Sign | None:
    return next((one for one in _CONDITIONS if re.fullmatch(one.name, name)), None)


@lru_cache(maxsize=_NAMES)
def _reason_of_taint(said: str) -> str | None:
    return next((reason for pattern, reason in _TAINTS if re.fullmatch(pattern, said)), None)
