import base64
from typing import Any

import pytest

from berth_api import names
from berth_api.keys import engine_key
from berth_api.server import queue_limit
from berth_api.spec import RoutingPolicy
from berth_gateway.routing.keep_alive import FOREVER
from berth_gateway.routing.snapshot import Endpoint, Facts, Model
from berth_gateway.routing.standing import Standing
from berth_gateway.world import objects

PLAN = {
    "accelerator": "cpu", "engineProfile": "cpu", "image": "vllm", "device": "cpu",
    "tensorParallelSize": 1, "gpusPerReplica": 0, "dtype": "float32", "kvCacheDtype": "auto",
    "usableBytes": 1, "weightsBytes": 1, "activationBytes": 1, "kvBytesPerToken": 1,
    "kvCacheBytes": 1, "kvCacheTokens": 1, "maxModelLen": 1, "maxNumBatchedTokens": 1,
    "memoryBytes": 1, "millicpu": 1,
}  # fmt: skip


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
    item["status"] = {
        "phase": "Loading",
        "reason": "Activating",
        "load": {"phase": "Loading", "etaSeconds": 30},
    }

    assert objects.model(item) == Model(
        key="u-1",
        name="llama",
        namespace="team",
        served_name="Llama",
        aliases=("chat",),
        hub_id="meta/llama",
        created_seconds=1795230000,
        phase="Loading",
        reason="Activating",
        eta_seconds=30,
        fixed_replicas=1,
        standing=Standing(
            wanted_replicas=1,
            stays_because="scaling.mode is Fixed: `berth unload`, or set spec.replicas to 0",
        ),
    )


def test_a_model_keeps_how_its_requests_are_held_and_routed() -> None:
    item = _deployment()
    item["spec"] |= {
        "queue": {"maxPending": 7, "maxWaitSeconds": 8},
        "routing": {"policy": "PrefixAware"},
        "rollout": {"holdRequests": False},
        "paused": True,
    }
    model = objects.model(item)

    assert model is not None
    assert (model.max_pending, model.max_wait_seconds) == (7, 8)
    assert model.policy is RoutingPolicy.PREFIX_AWARE
    assert (model.hold_replacement, model.paused) == (False, True)


@pytest.mark.parametrize(
    ("mode", "fixed"), [("Fixed", 0), ("Auto", None), ("External", None)], ids=str
)
def test_only_a_fixed_number_of_replicas_is_fixed(mode: str, fixed: int | None) -> None:
    item = _deployment()
    item["spec"] |= {"replicas": 0, "scaling": {"mode": mode}}
    model = objects.model(item)

    assert model is not None
    assert model.fixed_replicas == fixed


@pytest.mark.parametrize("mode", ["Fixed", "Auto"])
@pytest.mark.parametrize(("said", "seconds"), [(None, 300.0), ("0", 0.0), ("-1", FOREVER)])
def test_a_model_of_a_pool_is_on_demand_whatever_its_mode(mode, said, seconds) -> None:
    item = _deployment()
    item["spec"] |= {"pool": "small", "scaling": {"mode": mode}} | (
        {"keepAlive": said} if said else {}
    )
    model = objects.model(item)

    assert model is not None
    assert model.fixed_replicas is None
    assert model.keep_alive_seconds == seconds


def test_an_endpoint_has_room_for_what_the_engine_itself_takes() -> None:
    item = _deployment()
    item["status"] = {"plan": PLAN | {"maxNumSeqs": 16}}
    model = objects.model(item)

    assert model is not None
    assert model.room == queue_limit(16)


@pytest.mark.parametrize(
    ("status", "replacing"),
    [
        ({}, False),
        ({"updateRevision": "b"}, False),
        ({"currentRevision": "b", "updateRevision": "b"}, False),
        ({"currentRevision": "a", "updateRevision": "b", "phase": "Loading"}, True),
        ({"currentRevision": "a", "updateRevision": "b", "phase": "Idle"}, False),
    ],
)
def test_a_model_is_being_replaced_while_its_revisions_differ_and_it_is_not_idle(
    status: dict, replacing: bool
) -> None:
    model = objects.model(_deployment() | {"status": status})

    assert model is not None
    assert model.replacing is replacing


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


def _shared_slice(engine: str, pod: str) -> dict[str, Any]:
    item = _slice(_endpoint(uid=pod), ports=[{"name": "engine", "port": 8117}])
    item["metadata"]["annotations"] = {
        names.ANNOTATION_SERVED_MODEL: engine,
        names.ANNOTATION_ENGINE_IDENTITY: names.pool_engine("pool-uid", engine),
    }
    return item


def test_a_pools_engine_has_a_name_and_a_key_of_its_own() -> None:
    model = objects.model(_deployment())
    assert model is not None
    slices = [objects.endpoint_slice(_shared_slice(*one)) for one in (("a1", "p-1"), ("b2", "p-2"))]
    (found,) = objects.snapshot([model], slices, b"m").models

    assert [(one.url, one.served_model) for one in found.endpoints] == [
        ("http://10.0.0.1:8117", "a1"),
        ("http://10.0.0.1:8117", "b2"),
    ]
    assert [one.engine_key for one in found.endpoints] == [
        engine_key(b"m", "pool-uid/a1"),
        engine_key(b"m", "pool-uid/b2"),
    ]
    assert found.engine_key == engine_key(b"m", "u-1")


def test_the_engines_of_a_pools_pod_are_counted_each_for_itself() -> None:
    (one,) = objects.endpoint_slice(_shared_slice("a1", "p-1")).endpoints
    (other,) = objects.endpoint_slice(_shared_slice("b2", "p-1")).endpoints

    assert (one.key, other.key) == ("p-1/a1", "p-1/b2")


def test_a_pools_engine_has_no_key_while_there_is_no_master_key() -> None:
    model = objects.model(_deployment())
    assert model is not None
    found = objects.snapshot([model], [objects.endpoint_slice(_shared_slice("a1", "p-1"))], None)

    assert [one.engine_key for one in found.models[0].endpoints] == [None]


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


def test_a_model_keeps_what_status_knows_of_it() -> None:
    item = _deployment()
    item["spec"]["runtime"] = {
        "extraArgs": ["--enable-auto-tool-choice", "--reasoning-parser=qwen3"]
    }
    item["status"] = {
        "model": {
            "commit": "c0ffee",
            "fileBytes": 7,
            "parametersDtype": "BF16",
            "architecture": "qwen3",
        },
        "plan": PLAN
        | {"maxNumSeqs": 1, "maxModelLen": 4096, "usableBytes": 10, "gpusPerReplica": 2},
    }
    model = objects.model(item)

    assert model is not None
    assert model.facts == Facts(
        commit="c0ffee", file_bytes=7, dtype="BF16", architecture="qwen3", context=4096,
        memory_bytes=20, on_gpu=True, capabilities=("completion", "tools", "thinking"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "flags", [["--runner", "pooling"], ["--runner=pooling"], ["--convert", "embed"]], ids=str
)
def test_a_model_that_embeds_does_nothing_else(flags) -> None:
    item = _deployment()
    item["spec"]["runtime"] = {"extraArgs": flags}
    model = objects.model(item)

    assert model is not None
    assert model.facts.capabilities == ("embedding",)


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({"scaling": {"mode": "Auto"}}, 300.0),
        ({"scaling": {"mode": "Auto"}, "keepAlive": "90s"}, 90.0),
        ({"scaling": {"mode": "Auto"}, "keepAlive": "-1"}, FOREVER),
        ({"scaling": {"mode": "Auto", "minReplicas": 1}, "keepAlive": "90s"}, FOREVER),
        ({"keepAlive": "90s"}, FOREVER),
    ],
    ids=str,
)
def test_a_model_stays_as_long_as_its_last_replica(spec, seconds) -> None:
    item = _deployment()
    item["spec"] |= spec
    model = objects.model(item)

    assert model is not None
    assert model.keep_alive_seconds == seconds


def test_adapters_are_those_of_the_spec_and_of_the_status() -> None:
    item = _deployment()
    item["spec"] |= {
        "adapters": [
            {"name": "sql", "source": "hf://a/sql"},
            {"name": "law", "source": "pvc://law"},
        ],
        "defaults": {"adapter": "law"},
    }
    item["status"] = {"adapters": [{"name": "sql", "commit": "c", "rank": 8}]}
    found = objects.model(item)
    assert found is not None
    assert (found.adapters, found.loadable) == (("sql", "law"), ("sql",))
    assert found.own_adapter == "law"
    assert found.presets is None


def test_a_pool_is_read_and_one_that_cannot_be_is_left_out(caplog) -> None:
    item = {
        "metadata": {"name": "small", "namespace": "team"},
        "spec": {"accelerator": {"profile": "h100"}, "cache": {"claimName": "models"}},
        "status": {"cards": [{"pod": "p", "index": 0, "totalBytes": 8, "grantedBytes": 0}]},
    }
    pool = objects.pool(item)

    assert pool is not None
    assert (pool.namespace, pool.name, pool.hardware) == ("team", "small", "h100")
    assert pool.status.cards[0].total_bytes == 8
    assert objects.pool({**item, "spec": {}}) is None
    assert "team/small" in caplog.text
