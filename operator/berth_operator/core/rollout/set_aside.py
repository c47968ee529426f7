"""Pods on a node with a fault get no new requests while others serve.

They are not ended: they keep their cards, and what they answer they finish. Whoever watches the
node drains it, or finds it well again; then the pods take requests as before. The mark on a pod
tells that it was Berth who took the label off, and not someone who looks at that pod.
"""

from collections.abc import Collection, Mapping

from berth_api import names
from berth_operator.core.kubernetes import annotation, is_ready, is_routed
from berth_operator.core.node_health import NodeFault
from berth_operator.core.observed import Object, Observed
from berth_operator.core.outcome import Patch
from berth_operator.core.rollout import draining

ANNOTATION_SET_ASIDE = f"{names.GROUP}/set-aside"

# At least one of so many ready pods keeps its route. Where most nodes are said to be ill it is
# likelier that the watcher is, and few pods cannot answer for all (Envoy's panic threshold: 50 %).
_READY_PER_ROUTED = 2


def chosen(observed: Observed, faults: Mapping[str, NodeFault]) -> frozenset[str]:
    """Uids of the pods that are to take no new requests; `faults` is by node."""
    ready = _candidates(observed)
    ill = [pod for pod in ready if pod["spec"].get("nodeName") in faults]
    if len(ill) == len(ready):
        return frozenset()
    most = len(ready) - -(-len(ready) // _READY_PER_ROUTED)
    ordered = sorted(ill, key=lambda pod: (not _is_set_aside(pod), pod["metadata"]["name"]))
    return frozenset(_uid(pod) for pod in ordered[:most])


def patches(
    observed: Observed, faults: Mapping[str, NodeFault], others: Collection[Patch]
) -> tuple[Patch, ...]:
    """To pods that `others` leave alone."""
    taken, aside = {one.uid for one in others}, chosen(observed, faults)
    found = [
        _patch(pod, faults[pod["spec"]["nodeName"]] if _uid(pod) in aside else None)
        for pod in _candidates(observed)
        if _uid(pod) not in taken and (is_routed(pod) if _uid(pod) in aside else _is_set_aside(pod))
    ]
    return tuple(found)


def _candidates(observed: Observed) -> list[Object]:
    """Ready pods that nobody else took off the endpoints."""
    return [
        pod.object
        for pod in observed.engines
        if is_ready(pod.object)
        and not draining.is_draining(pod.object)
        and (is_routed(pod.object) or _is_set_aside(pod.object))
    ]


def _is_set_aside(pod: Object) -> bool:
    return annotation(pod, ANNOTATION_SET_ASIDE) is not None


def _patch(pod: Object, fault: NodeFault | None) -> Patch:
    route = names.ROUTE_OPEN if fault is None else None
    why = None if fault is None else fault.reason
    changes = {"labels": {names.LABEL_ROUTE: route}, "annotations": {ANNOTATION_SET_ASIDE: why}}
    return Patch("v1", "Pod", pod["metadata"]["name"], _uid(pod), {"metadata": changes})


def _uid(pod: Object) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid
