"""Which pods on ill nodes take no new requests, and when they do again."""

from typing import Any

import builders
from fakes.cluster import merge_patched

from berth_api import names
from berth_operator.core import node_health
from berth_operator.core.observed import Node, Observed, Pod
from berth_operator.core.outcome import Patch
from berth_operator.core.rollout import set_aside
from berth_operator.core.rollout.set_aside import ANNOTATION_SET_ASIDE

ILL = {"type": "GpuMemWatch", "status": "True"}


def pod(name: str, **fields: Any) -> dict[str, Any]:
    """On the node of its own name, and ready."""
    found = builders.engine_pod("r", name=name, **({"ready": True} | fields))
    return found | {"spec": {"nodeName": f"node-{name}"}}


def unrouted(found: dict[str, Any], **annotations: str) -> dict[str, Any]:
    metadata = {"labels": {names.LABEL_ROUTE: None}, "annotations": annotations}
    return dict(merge_patched(found, {"metadata": metadata}))


def seen(*pods: dict[str, Any], ill: str) -> Observed:
    nodes = tuple(
        Node(f"node-{name}", {}, {}, conditions=(ILL,) if name in ill else ())
        for name in (one["metadata"]["name"] for one in pods)
    )
    return builders.observed(nodes=nodes, pods=tuple(map(Pod, pods)))


def patched(observed: Observed, others: tuple[Patch, ...] = ()) -> dict[str, Any]:
    """By pod, its route's new value."""
    found = set_aside.patches(observed, node_health.faults(observed), others)
    return {
        one.name: one.changes["metadata"]["labels"][names.LABEL_ROUTE] or "closed" for one in found
    }


def test_a_pod_on_an_ill_node_is_set_aside_while_another_serves() -> None:
    assert patched(seen(pod("a"), pod("b"), ill="a")) == {"a": "closed"}


def test_the_mark_tells_why() -> None:
    look = seen(pod("a"), pod("b"), ill="a")
    (patch,) = set_aside.patches(look, node_health.faults(look), ())
    marks = patch.changes["metadata"]["annotations"]
    assert marks == {ANNOTATION_SET_ASIDE: node_health.DEVICE_UNHEALTHY}
    assert patch.uid == "uid-a"


def test_the_only_one_that_serves_goes_on() -> None:
    assert patched(seen(pod("a"), ill="a")) == {}
    assert patched(seen(pod("a"), pod("b", ready=False), ill="a")) == {}
    assert patched(seen(pod("a"), pod("b"), ill="ab")) == {}


def test_where_most_are_said_to_be_ill_half_of_them_go_on() -> None:
    pods = [pod(name) for name in "abcde"]
    assert patched(seen(*pods, ill="abcd")) == {"a": "closed", "b": "closed"}


def test_one_that_is_set_aside_stays_so_while_its_node_is_ill() -> None:
    aside = unrouted(pod("b"), **{ANNOTATION_SET_ASIDE: "DeviceUnhealthy"})
    assert patched(seen(pod("a"), aside, pod("c"), ill="bc")) == {}


def test_it_takes_requests_again_once_its_node_is_well_or_no_other_serves() -> None:
    aside = unrouted(pod("a"), **{ANNOTATION_SET_ASIDE: "DeviceUnhealthy"})
    assert patched(seen(aside, pod("b"), ill="")) == {"a": names.ROUTE_OPEN}
    assert patched(seen(aside, pod("b", ready=False), ill="a")) == {"a": names.ROUTE_OPEN}


def test_a_pod_that_someone_else_took_aside_or_that_drains_is_left_alone() -> None:
    by_hand = unrouted(pod("a"))
    drains = unrouted(pod("b"), **{names.ANNOTATION_DRAINING: "2026-01-02T03:04:05Z"})
    assert patched(seen(by_hand, drains, pod("c"), ill="ab")) == {}
    assert patched(seen(by_hand, drains, pod("c"), ill="")) == {}


def test_a_pod_that_the_roll_out_has_just_patched_is_left_to_it() -> None:
    other = Patch("v1", "Pod", "a", "uid-a", {})
    assert patched(seen(pod("a"), pod("b"), ill="a"), (other,)) == {}
