import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core import drift
from berth_operator.core.drift import (
    ANNOTATION_APPLIED,
    canonical,
    difference,
    owned_by,
    stamp,
)

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "smol", "annotations": {"team": "a"}},
    "spec": {
        "replicas": 0,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "engine",
                        "args": ["serve", "--x"],
                        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
                        "ports": [{"containerPort": 8000}],
                    }
                ],
                "volumes": [
                    {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}}
                ],
                "hostNetwork": False,
                "nodeSelector": {},
            }
        },
    },
}


def engine(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def live() -> dict[str, Any]:
    """What the API server makes of it: defaults added, empty values dropped, quantities respelt."""
    import copy

    obj = copy.deepcopy(stamp(DEPLOYMENT))
    obj["status"] = {"replicas": 0}
    pod = obj["spec"]["template"]["spec"]
    del pod["hostNetwork"], pod["nodeSelector"]
    pod["volumes"][0]["emptyDir"]["sizeLimit"] = "1Gi"
    pod["dnsPolicy"] = "ClusterFirst"
    engine(obj)["resources"]["limits"] = {"cpu": "1", "memory": "1Gi"}
    engine(obj)["ports"][0]["protocol"] = "TCP"
    return obj


def test_an_object_that_the_api_server_filled_in_need_not_be_applied() -> None:
    assert difference(stamp(DEPLOYMENT), live()) is None


def test_a_missing_object_must_be_applied() -> None:
    assert difference(stamp(DEPLOYMENT), None) == "missing"


def test_a_field_that_is_no_longer_wanted_makes_a_difference() -> None:
    fewer = {**DEPLOYMENT, "metadata": {"name": "smol"}}
    assert difference(stamp(fewer), live()) == "decided anew"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda o: o["spec"].update(replicas=3), ".spec.replicas"),
        (lambda o: o["spec"].pop("replicas"), ".spec.replicas"),
        (lambda o: engine(o).update(args=["serve"]), "args"),
        (lambda o: engine(o).update(args=["serve", "--y"]), "args[1]"),
        (lambda o: engine(o)["resources"]["limits"].update(cpu="2"), "limits.cpu"),
        (lambda o: engine(o).update(name="other"), ".containers.engine"),
        (lambda o: o["metadata"]["annotations"].pop("team"), ".metadata.annotations.team"),
    ],
)
def test_a_changed_field_is_found_and_named(change: Any, place: str) -> None:
    obj = live()
    change(obj)
    found = difference(stamp(DEPLOYMENT), obj)
    assert found is not None
    assert found.startswith("changed by someone else")
    assert found.endswith(place)


def test_what_others_add_is_left_alone() -> None:
    obj = live()
    obj["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar"})
    obj["metadata"]["labels"] = {"theirs": "1"}
    assert difference(stamp(DEPLOYMENT), obj) is None


def test_what_the_api_server_makes_of_it_is_told_without_the_slow_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drift, "_drifted", None)
    assert difference(stamp(DEPLOYMENT), live()) is None


def test_equal_quantities_count_only_where_quantities_stand() -> None:
    desired = stamp({"metadata": {"name": "x"}, "data": {"size": "1024Mi"}})
    assert difference(desired, {**desired, "data": {"size": "1Gi"}}) is not None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(spec=values)
def test_what_was_applied_as_it_is_never_differs(spec: Any) -> None:
    stamped = stamp({"metadata": {"name": "x"}, "spec": spec})
    assert difference(stamped, stamped) is None


@given(spec=values)
def test_stamping_changes_nothing_but_one_annotation(spec: Any) -> None:
    desired = {"metadata": {"name": "x"}, "spec": spec}
    stamped = stamp(desired)
    assert desired == {"metadata": {"name": "x"}, "spec": spec}
    assert stamped["metadata"].pop("annotations").keys() == {ANNOTATION_APPLIED}
    assert stamped == desired


def test_only_the_controller_owns() -> None:
    owners = [{"uid": "a"}, {"uid": "b", "controller": True}]
    obj = {"metadata": {"ownerReferences": owners}}
    assert (owned_by(obj, "a"), owned_by(obj, "b"), owned_by({"metadata": {}}, "b")) == (
        False,
        True,
        False,
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=4), inside, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_stamps_are_those_of_earlier_releases(obj: dict[str, Any]) -> None:
    written = json.dumps(obj, sort_keys=True, separators=(",", ":"))
    assert canonical(obj) == written.encode()
