"""What a set of NetworkPolicies allows, by the rules of the Kubernetes documentation.

No network of a developer's cluster enforces them, so this reads them as one would: a pod that a
policy selects for a direction takes only what some rule of such a policy names.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.244.0.9"


@dataclass(frozen=True)
class Outside:
    """An address that is no pod's."""

    address: str


Side = Pod | Outside


def allowed(
    policies: Iterable[Object], source: Side, target: Side, port: int, protocol: str = "TCP"
) -> bool:
    """Whether a connection is made: the source may leave, and the target takes it."""
    known = list(policies)
    leaves = _passes(known, source, "Egress", target, port, protocol)
    return leaves and _passes(known, target, "Ingress", source, port, protocol)


def _passes(
    policies: list[Object], pod: Side, direction: str, other: Side, port: int, protocol: str
) -> bool:
    if not isinstance(pod, Pod):
        return True
    specs = [one["spec"] for one in policies if _selects(one, pod, direction)]
    field_name, peers_name = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    rules = [rule for spec in specs for rule in spec.get(field_name) or []]
    return not specs or any(
        _names_port(rule, port, protocol) and _names_peer(rule.get(peers_name), pod, other)
        for rule in rules
    )


def _selects(policy: Object, pod: Pod, direction: str) -> bool:
    here = policy["metadata"]["namespace"] == pod.namespace
    spec = policy["spec"]
    return here and direction in spec["policyTypes"] and _fits(spec["podSelector"], pod.labels)


def _names_port(rule: Object, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        one["port"] <= port <= one.get("endPort", one["port"])
        and one.get("protocol", "TCP") == protocol
        for one in ports
    )


def _names_peer(peers: list[Object] | None, pod: Pod, other: Side) -> bool:
    return not peers or any(_is_peer(one, pod, other) for one in peers)


def _is_peer(peer: Object, pod: Pod, other: Side) -> bool:
    if block := peer.get("ipBlock"):
        inside = _in(other.address, block["cidr"])
        return inside and not any(_in(other.address, one) for one in block.get("except", []))
    if not isinstance(other, Pod):
        return False
    namespaces = peer.get("namespaceSelector")
    named = {"kubernetes.io/metadata.name": other.namespace}
    near = other.namespace == pod.namespace if namespaces is None else _fits(namespaces, named)
    return near and _fits(peer.get("podSelector", {}), other.labels)


def _fits(selector: Object, labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, selector  # no other kind is used
    return selector.get("matchLabels", {}).items() <= labels.items()


def _in(address: str, block: str) -> bool:
    network = ipaddress.ip_network(block)
    found = ipaddress.ip_address(address)
    return found.version == network.version and found in network
