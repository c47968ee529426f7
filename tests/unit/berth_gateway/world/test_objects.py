import base64
from typing import Any

import pytest

from berth_api import names
from berth_api.keys import engine_key
from berth_gateway.routing.snapshot import Endpoint, Model
from berth_gateway.world import objects


def _deployment(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "llama",
            "namespace": "team",
            "uid": "u-1",
            "creationTimestamp": "2026-11-21T03:00:00Z",
        },
        "spec": {"model": {"source": "hf://meta/llama@main"} | spec},
    }


def _slice(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "team", "name": "s", "labels": {names.LABEL_MODEL: "llama"}},
        "ports": [{"name": "status", "port": 8090}, {"name": "engine", "port": 8000}],
        "endpoints": list(endpoints) or None,
    } | more


def _endpoint(address: str = "10.0.0.1", uid: str = "p-1", **conditions: bool) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": conditions,
        "targetRef": {"kind": "Pod", "name": f"pod-{uid}", "uid": uid},
    }


def test_a_model_keeps_what_routing_needs() -> None:
    item = _deployment(name="Llama", aliases=["chat"])
    item["status"] = {"phase": "Loading", "load": {"phase": "Loading", "etaSeconds": 30}}

    assert objects.model(item) == Model(
        key="u-1",
        name="llama",
        namespace="team",
        served_name="Llama",
        aliases=("chat",),
        hub_id="meta/llama",
        created_seconds=1795230000,
        phase="Loading",
        eta_seconds=30,
    )


def test_only_a_hub_source_has_a_hub_id() -> None:
    model = objects.model(_deployment(source="pvc://claim/llama"))

    assert model is not None
    assert model.hub_id is None


def test_a_kind_that_cannot_be_read_is_left_out_and_named_in_the_log(caplog) -> None:
    item = _deployment()
    item["spec"] = {"renamed": 1}

    assert objects.model(item) is None
    assert "team/llama is left out" in caplog.text


@pytest.mark.parametrize(
    ("conditions", "open_"),
    [
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({}, True),
        ({"ready": False, "serving": True}, False),
        ({"ready": True, "serving": False}, False),
        ({"ready": True, "serving": True, "terminating": True}, False),
    ],
)
def test_only_ready_serving_endpoints_that_stay_are_open(conditions, open_) -> None:
    found = objects.endpoint_slice(_slice(_endpoint(**conditions))).endpoints

    assert bool(found) is open_


def test_an_endpoint_is_known_by_its_pods_uid_and_reached_at_the_engines_port() -> None:
    found = objects.endpoint_slice(_slice(_endpoint(), _endpoint("fd00::1", "p-2")))

    assert found.endpoints == (
        Endpoint(key="p-1", url="http://10.0.0.1:8000", name="pod-p-1"),
        Endpoint(key="p-2", url="http://[fd00::1]:8000", name="pod-p-2"),
    )


def test_a_slice_whose_engine_port_has_no_number_is_empty() -> None:
    """The API allows it ("all ports"), so nobody's slice may end the gateway."""
    assert objects.endpoint_slice(_slice(_endpoint(), ports=[{"name": "engine"}])).endpoints == ()


def test_a_slice_without_the_engines_port_or_without_endpoints_is_empty() -> None:
    assert objects.endpoint_slice(_slice(_endpoint(), ports=None)).endpoints == ()
    assert objects.endpoint_slice(_slice()).endpoints == ()


def test_a_pod_in_two_slices_counts_once() -> None:
    model = objects.model(_deployment())
    four, six = (
        objects.endpoint_slice(_slice(_endpoint(address))) for address in ("10.0.0.1", "fd00::1")
    )
    assert model is not None
    snapshot = objects.snapshot([model], [four, six], b"master")

    assert [one.url for one in snapshot.models[0].endpoints] == ["http://10.0.0.1:8000"]


def test_endpoints_of_another_namespace_are_another_models() -> None:
    model = objects.model(_deployment())
    other = _slice(_endpoint())
    other["metadata"]["namespace"] = "elsewhere"
    assert model is not None
    snapshot = objects.snapshot([model], [objects.endpoint_slice(other)], b"master")

    assert snapshot.models[0].endpoints == ()


@pytest.mark.parametrize(("master", "key"), [(b"m", engine_key(b"m", "u-1")), (None, None)])
def test_the_engine_key_is_derived_from_the_master_key_and_the_uid(master, key) -> None:
    model = objects.model(_deployment())
    assert model is not None

    assert objects.snapshot([model], [], master).models[0].engine_key == key


def test_a_secret_is_decoded() -> None:
    item = {"metadata": {"name": "s"}, "data": {"a": base64.b64encode(b"\x00x").decode()}}

    assert objects.secret(item) == {"a": b"\x00x"}
    assert objects.secret({"metadata": {"name": "s"}}) == {}


def test_only_hashes_become_api_keys(caplog) -> None:
    good = "ab" * 32
    found = objects.key_hashes({"a": good.upper().encode() + b"\n", "b": b"sk-plain"})

    assert found == {"a": good}
    assert "b is not a SHA-256" in caplog.text
    assert "sk-plain" not in caplog.text
