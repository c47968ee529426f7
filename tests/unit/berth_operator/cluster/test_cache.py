from decimal import Decimal
from typing import Any

import pytest

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey

KEY = ModelKey("team", "smol")


def model(version: int = 1, uid: str = "m", **more: Any) -> dict[str, Any]:
    metadata = {"name": "smol", "namespace": "team", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata | more.pop("metadata", {}), "spec": {"replicas": 1}} | more


def child(
    version: int = 1, uid: str = "c", owner: str = "m", label: str = "smol"
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "smol-1",
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {names.LABEL_MODEL: label},
            "ownerReferences": [{"uid": owner, "controller": True}],
        }
    }


def test_a_new_object_is_worth_a_look_at_its_model() -> None:
    cache = Cache()
    assert cache.upsert(kinds.MODEL, model()) == (KEY,)
    assert cache.upsert(kinds.DEPLOYMENT, child()) == (KEY,)


def test_old_and_repeated_news_are_not() -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model(version=100))
    assert cache.upsert(kinds.MODEL, model(version=100)) == ()
    assert cache.upsert(kinds.MODEL, model(version=99, spec={"replicas": 9})) == ()
    found = cache.model(KEY)
    assert found is not None
    assert found["spec"] == {"replicas": 1}


def test_a_status_that_the_operator_wrote_is_not_worth_a_look() -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model(1))
    cache.writing_status("m", {"phase": "Ready"})
    assert cache.upsert(kinds.MODEL, model(2, status={"phase": "Ready"})) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"status": {"phase": "Forged"}},
        {"status": {"phase": "Ready"}, "spec": {"replicas": 2}},
        {"status": {"phase": "Ready"}, "metadata": {"deletionTimestamp": "now"}},
        {"status": {"phase": "Ready"}, "metadata": {"labels": {"a": "b"}}},
    ],
)
def test_any_other_change_is(change: dict[str, Any]) -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model(1))
    cache.writing_status("m", {"phase": "Ready"})
    assert cache.upsert(kinds.MODEL, model(2, **change)) == (KEY,)


def test_a_status_that_someone_takes_away_is_noticed_after_a_restart_too() -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model(1, status={"phase": "Ready"}))
    assert cache.upsert(kinds.MODEL, model(2)) == (KEY,)


def test_late_news_of_a_deleted_object_do_not_bring_it_back() -> None:
    cache = Cache()
    cache.upsert(kinds.DEPLOYMENT, child(1))
    assert cache.remove(kinds.DEPLOYMENT, "c") == (KEY,)
    assert cache.upsert(kinds.DEPLOYMENT, child(2)) == ()
    assert cache.children(KEY, "m").deployments == ()


def test_the_late_deletion_of_a_namesake_leaves_its_successor() -> None:
    cache = Cache()
    cache.upsert(kinds.DEPLOYMENT, child(1, uid="old"))
    cache.upsert(kinds.DEPLOYMENT, child(2, uid="new"))
    cache.remove(kinds.DEPLOYMENT, "old")
    assert [one["metadata"]["uid"] for one in cache.children(KEY, "m").deployments] == ["new"]


def test_children_of_another_owner_are_not_the_models() -> None:
    cache = Cache()
    cache.upsert(kinds.SERVICE, child(uid="foreign", owner="somebody"))
    cache.upsert(kinds.SERVICE, child(uid="own"))
    assert [one["metadata"]["uid"] for one in cache.children(KEY, "m").services] == ["own"]


def test_the_successor_of_a_model_that_is_on_its_way_out_counts() -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model(9, uid="old", metadata={"creationTimestamp": "2026-01-01"}))
    cache.upsert(kinds.MODEL, model(5, uid="new", metadata={"creationTimestamp": "2026-01-02"}))
    found = cache.model(KEY)
    assert found is not None
    assert found["metadata"]["uid"] == "new"


def test_a_relabelled_child_concerns_both_models() -> None:
    cache = Cache()
    cache.upsert(kinds.POD, child(1))
    assert cache.upsert(kinds.POD, child(2, label="other")) == (ModelKey("team", "other"), KEY)
    assert cache.pods(KEY) == ()


def test_nodes_are_kept_small_and_a_healthy_one_causes_no_look() -> None:
    cache = Cache()
    node = {
        "metadata": {"name": "n1", "uid": "n", "resourceVersion": "1", "labels": {"gpu": "a"}},
        "spec": {"unschedulable": True},
        "status": {
            "allocatable": {"cpu": "4"},
            "images": ["a long list"],
            "conditions": [{"type": "Ready", "status": "True", "message": "a long list"}],
            "nodeInfo": {"kubeletVersion": "v1.34.4", "containerRuntimeVersion": "containerd://2"},
        },
    }
    assert cache.upsert(kinds.NODE, node) == ()
    (found,) = cache.nodes()
    assert (found.name, found.labels, found.allocatable) == ("n1", {"gpu": "a"}, {"cpu": "4"})
    assert (found.kubelet_version, found.unschedulable) == ("v1.34.4", True)
    assert "a long list" not in str(vars(cache))
    assert cache.remove(kinds.NODE, "n") == ()
    assert cache.nodes() == ()


def test_bulk_that_no_decision_reads_is_dropped() -> None:
    cache = Cache()
    bulk = {
        "managedFields": ["long"],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "long", "a": "b"},
    }
    cache.upsert(kinds.MODEL, model(metadata=bulk))
    found = cache.model(KEY)
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"a": "b"}


def placed(version: int, node: str | None = "n1", phase: str = "Running") -> dict[str, Any]:
    asked = {"requests": {"cpu": "1500m"}, "limits": {"example.test/gpu": "2"}}
    spec = {"containers": [{"resources": asked}]} | ({"nodeName": node} if node else {})
    return child(version, uid="p") | {"spec": spec, "status": {"phase": phase}}


def reserved(cache: Cache) -> dict[str, Decimal]:
    (node,) = cache.nodes()
    return dict(node.reserved)


def test_what_pods_request_is_kept_by_node_as_they_come_and_go() -> None:
    cache = Cache()
    cache.upsert(kinds.NODE, {"metadata": {"name": "n1", "uid": "n", "resourceVersion": "1"}})
    cache.upsert(kinds.POD, placed(1, node=None))
    assert reserved(cache) == {}
    for version in (2, 3):
        cache.upsert(kinds.POD, placed(version))
        assert reserved(cache) == {"cpu": Decimal("1.5"), "example.test/gpu": Decimal(2)}
    cache.upsert(kinds.POD, placed(4, phase="Failed"))
    assert reserved(cache) == {}
    cache.upsert(kinds.POD, placed(5))
    cache.remove(kinds.POD, "p")
    assert reserved(cache) == {}


def node(version: int, *conditions: dict[str, str], **spec: Any) -> dict[str, Any]:
    metadata = {"name": "n1", "uid": "n", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": list(conditions)}}


def test_a_node_that_falls_ill_or_recovers_has_the_models_on_it_looked_at() -> None:
    cache = Cache()
    cache.upsert(kinds.POD, placed(1))
    ill = {"type": "GpuMemWatch", "status": "True", "message": "DBE"}
    assert cache.upsert(kinds.NODE, node(1)) == ()
    assert cache.upsert(kinds.NODE, node(2, ill)) == (KEY,)
    (found,) = cache.nodes()
    assert found.conditions == (ill,)
    assert cache.upsert(kinds.NODE, node(3, ill | {"lastHeartbeatTime": "now"})) == ()
    taint = {"key": "AggregatedNodeHealth", "value": "False", "effect": "NoSchedule"}
    assert cache.upsert(kinds.NODE, node(4, ill, taints=[taint])) == (KEY,)
    assert cache.upsert(kinds.NODE, node(5)) == (KEY,)
    assert cache.remove(kinds.NODE, "n") == (KEY,)


def test_a_node_without_pods_of_ours_concerns_nobody() -> None:
    cache = Cache()
    cache.upsert(kinds.POD, placed(1))
    cache.upsert(kinds.POD, placed(2, phase="Failed"))
    assert cache.upsert(kinds.NODE, node(1, {"type": "Ready", "status": "False"})) == ()


@pytest.mark.parametrize("spec", [None, "words", [], {"pool": 7}, {"pool": None}, {}])
def test_a_model_of_any_shape_is_in_no_pool(spec: Any) -> None:
    cache = Cache()
    assert cache.upsert(kinds.MODEL, model(spec=spec)) == (KEY,)
    assert cache.pool_of(KEY) is None


def test_a_model_is_in_the_pool_that_it_names() -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model(1, spec={"pool": "shared"}))
    assert cache.pool_of(KEY) == "shared"
    assert cache.in_pool("team", "shared") == (KEY,)
    cache.upsert(kinds.MODEL, model(2, spec={}))
    assert cache.in_pool("team", "shared") == ()
