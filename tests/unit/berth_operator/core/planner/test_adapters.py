"""A spec's adapters, decision by decision: read, planned, refused, rolled out, told."""

from typing import Any

import builders
import pytest
from fakes.cluster_of_one import ClusterOfOne

from berth_api import names
from berth_api.adapters import AdaptersReport
from berth_api.server import AdaptersConfig, ServerConfig
from berth_api.shape import Failure
from berth_api.status import Plan
from berth_operator.core.planner import deviation

SQL = {"name": "sql", "source": "hf://berth/sql"}
LAW = {"name": "law", "source": "hf://berth/law"}


def read(cluster: ClusterOfOne, *reports: Any) -> ClusterOfOne:
    """The adapters' Job has just ended, and its answer is acted on."""
    cluster.read_adapters(*(reports or (builders.adapter(),)))
    cluster.settle()
    return cluster


def asked(*adapters: dict[str, str], **spec: Any) -> ClusterOfOne:
    """The model's shape is known, its adapters' are not."""
    cluster = ClusterOfOne(cr=builders.model_deployment(adapters=list(adapters or (SQL,)), **spec))
    cluster.step()
    cluster.read_shape()
    cluster.step()
    return cluster


def reason(cluster: ClusterOfOne) -> tuple[str, str]:
    status = cluster.cr["status"]
    return status["reason"], status["message"]


def engine(cluster: ClusterOfOne) -> Any:
    """What the newest Deployment's server is told of its engine."""
    pod = cluster.kind("Deployment")[-1]["spec"]["template"]["spec"]
    (found,) = [
        one["value"]
        for one in pod["containers"][0]["env"]
        if one["name"] == names.ENV_SERVER_CONFIG
    ]
    return ServerConfig.model_validate_json(found).engines[0]


def jobs(cluster: ClusterOfOne) -> list[str]:
    return [job["metadata"]["name"] for job in cluster.kind("Job")]


def test_adapters_are_read_once_the_model_is_and_before_anything_runs() -> None:
    cluster = asked()
    assert len(jobs(cluster)) == 2
    assert not cluster.kind("Deployment")
    read(cluster)
    assert jobs(cluster) == []
    assert cluster.kind("Deployment")


def test_the_plan_counts_slots_and_the_engine_is_told_of_them() -> None:
    plan = read(asked()).cr["status"]["plan"]
    slots = plan["adapterSlots"]
    # Three fused projections and one more, rank 16, in 30 layers of float32.
    assert slots["slotBytes"] == 16 * (3 * 576 + 576 + 2 * 192 + 1536 + 576) * 30 * 4
    assert (slots["count"], slots["maxRank"]) == (1, 16)
    assert any("1 slots of rank 16 for down_proj, q_proj, v_proj" in one for one in plan["explain"])


def test_what_slots_take_is_taken_from_the_kv_cache() -> None:
    bare = ClusterOfOne()
    bare.step()
    bare.read_shape()
    bare.settle()
    without = bare.cr["status"]["plan"]
    plan = read(asked()).cr["status"]["plan"]
    lost = without["kvCacheBytes"] - plan["kvCacheBytes"]
    slots = plan["adapterSlots"]
    block = without["kvBytesPerToken"] * 128
    assert slots["slotBytes"] + slots["hostBytes"] <= lost + block
    assert plan["weightsBytes"] == without["weightsBytes"]
    assert "adapterSlots" not in without


def test_the_engine_has_each_adapter_in_a_folder_of_its_commit() -> None:
    cluster = asked(SQL, {"name": "poems", "source": "pvc://adapters/poems"})
    read(cluster, builders.adapter(), builders.adapter("pvc://adapters/poems"))
    folders = engine(cluster).adapters.folders
    assert folders == {
        "sql": f"/berth/adapters/berth--sql/{'a' * 40}",
        "poems": "/berth/claims/1",
    }


def test_many_adapters_are_read_by_several_containers_and_each_answers_for_its_own() -> None:
    many = [{"name": f"a{n}", "source": f"hf://berth/a{n}"} for n in range(40)]
    cluster = asked(*many)
    pod = cluster.kind("Job")[-1]["spec"]["template"]["spec"]
    shares = [
        AdaptersConfig.model_validate_json(
            next(v["value"] for v in one["env"] if v["name"] == names.ENV_ADAPTERS_CONFIG)
        ).adapters
        for one in pod["containers"]
    ]
    assert [len(share) for share in shares] == [16, 16, 8]
    read(cluster, *(builders.adapter(one["source"]) for one in many))
    assert len(cluster.cr["status"]["adapters"]) == 40


def test_one_more_adapter_reads_that_one_alone_and_no_model() -> None:
    cluster = read(asked())
    cluster.serve()
    cluster.settle()
    cluster.change(adapters=[SQL, LAW])
    cluster.step()
    (job,) = cluster.kind("Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = next(v for v in container["env"] if v["name"] == names.ENV_ADAPTERS_CONFIG)
    wanted = AdaptersConfig.model_validate_json(given["value"]).adapters
    assert [one.source for one in wanted] == ["hf://berth/law"]


def test_a_known_adapter_under_another_name_is_read_no_more() -> None:
    cluster = read(asked())
    cluster.change(adapters=[SQL | {"name": "tables"}])
    cluster.settle()
    assert jobs(cluster) == []
    assert engine(cluster).adapters.folders.keys() == {"tables"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"extras": {"use_dora": "True"}}, "is a DoRA"),
        ({"rank": 1024}, "has the rank 1024"),
        ({"modules": {"q_proj": (4096, 4096)}}, "the model's is 576"),
    ],
)
def test_an_adapter_that_cannot_be_served_is_refused_by_its_name(
    told: dict[str, Any], said: str
) -> None:
    why, message = reason(read(asked(), builders.adapter(**told)))
    assert why == "AdapterUnsupported"
    assert "spec.adapters: sql (hf://berth/sql) " in message
    assert said in message


def test_an_adapter_that_cannot_be_read_is_tried_again_and_told_meanwhile() -> None:
    cluster = asked()
    job = cluster.kind("Job")[-1]
    failure = Failure(reason="GatedModel", message="adapter hf://berth/sql: it is gated")
    told = AdaptersReport(failure=failure).model_dump_json()
    ended = builders.ended("adapters-0", 0, told)
    pod = builders.pod_object(
        "x", names.ROLE_SHAPE, owner=job["metadata"]["uid"], containers=[ended]
    )
    cluster.pods = (*cluster.pods, type(cluster.pods[0])(pod))
    outcome = cluster.settle()
    assert reason(cluster)[0] == "GatedModel"
    assert outcome.look_again_seconds is not None
    before = jobs(cluster)
    cluster.seconds += 60
    cluster.step()
    assert set(jobs(cluster)) - set(before)


def test_an_answer_that_is_none_is_told_as_that() -> None:
    cluster = asked()
    job = cluster.kind("Job")[-1]
    ended = builders.ended("adapters-0", 1, "Traceback")
    pod = builders.pod_object(
        "x", names.ROLE_SHAPE, owner=job["metadata"]["uid"], containers=[ended]
    )
    cluster.pods = (*cluster.pods, type(cluster.pods[0])(pod))
    cluster.settle()
    assert reason(cluster)[0] == "ConfigUnreadable"
    assert "Traceback" in reason(cluster)[1]


@pytest.mark.parametrize("adapters", [[SQL | {"name": "smollm2"}], [SQL, LAW | {"name": "sql"}]])
def test_a_name_that_the_engine_could_not_tell_apart_is_refused(adapters: Any) -> None:
    cluster = asked(*adapters)
    assert reason(cluster)[0] == "InvalidSpec"
    assert "spec.adapters" in reason(cluster)[1]


def test_a_change_of_adapters_is_a_roll_out_and_they_are_told_once_all_pods_have_them() -> None:
    cluster = read(asked())
    cluster.serve()
    cluster.settle()
    first = cluster.cr["status"]["updateRevision"]
    assert [one["name"] for one in cluster.cr["status"]["adapters"]] == ["sql"]
    cluster.change(adapters=[SQL, LAW])
    cluster.step()
    read(cluster, builders.adapter("hf://berth/law"))
    status = cluster.cr["status"]
    assert status["updateRevision"] != first
    assert [one["name"] for one in status["adapters"]] == ["sql"]
    cluster.serve(name="smollm2-y")
    cluster.drain()
    cluster.pods = tuple(
        pod
        for pod in cluster.pods
        if pod.object["metadata"]["labels"][names.LABEL_REVISION] != first
    )
    cluster.settle()
    assert [one["name"] for one in cluster.cr["status"]["adapters"]] == ["sql", "law"]


def test_what_is_told_of_an_adapter_is_what_was_read() -> None:
    (told,) = read(asked()).cr["status"]["adapters"]
    assert told == {"name": "sql", "commit": "a" * 40, "rank": 16, "fileBytes": 5_000_000}


def test_what_the_engine_measures_as_its_model_holds_the_slots() -> None:
    status = read(asked()).cr["status"]
    plan = Plan.model_validate(status["plan"])
    slots = plan.adapter_slots
    assert slots is not None
    assert deviation.loaded_bytes(plan) == plan.weights_bytes + slots.slot_bytes


def test_where_slots_are_what_is_too_much_leaving_adapters_out_is_a_fix() -> None:
    wide = builders.adapter(rank=512, fileBytes=200_000_000)
    small = {"resources": {"memory": "4Gi"}, "accelerators": [{"profile": "cpu"}]}
    names_ = [SQL | {"name": f"n{n}"} for n in range(4)]
    cluster = read(asked(*names_, **small), wide)
    condition = next(c for c in cluster.cr["status"]["conditions"] if c["type"] == "Planned")
    assert condition["reason"] == "DoesNotFit"
    assert "leave out spec.adapters, whose slots take" in str(cluster.cr["status"])
