"""The loop, decision by decision: plan, measure or fail, plan once more, remember."""

from typing import Any

import builders
import pytest
from fakes.cluster_of_one import ClusterOfOne

from berth_api import names
from berth_api.server import EngineStatus, Measured, Phase, PodStatus
from berth_api.shape import Failure, Short, Shortage
from berth_operator.core.outcome import EventType, Outcome
from berth_operator.core.planner.learned import Record

MIB, GIB = 2**20, 2**30

# Llama-3.1-8B: 131,072 bytes of KV cache for each token in bfloat16.
CONFIG = dict(builders.LLAMA_8B_CONFIG)
REPORT = {
    "commit": "c",
    "config": CONFIG,
    "tensorBytes": {"BF16": 16_060_522_496},
    "tensorCount": 291,
    "fileBytes": 16_060_556_376,
}
# One card of 24 GiB a node: the weights leave a few GiB for the KV cache.
PROFILE = {
    "name": "a10",
    "engineProfile": "vllm",
    "resource": "nvidia.com/gpu",
    "memory": "24Gi",
    "gpusPerNode": 1,
}


# Fewer sequences are another way out than a shorter context; most tests want one way.
BATCH = {"maxNumSeqs": 64}
# The whole context beside 256 sequences; on a card that is 2 % smaller, beside 128.
ROOMY, LESS_ROOMY = "42240Mi", "41472Mi"


def deployed(
    learned: dict[str, Record] | None = None, card: str = "24Gi", **spec: Any
) -> ClusterOfOne:
    """Planned on the card, its pod about to start."""
    spec = {"runtime": BATCH} | spec
    context = builders.context(acceleratorProfiles=[PROFILE | {"memory": card}])
    cr = builders.model_deployment(source="hf://meta-llama/Llama-3.1-8B-Instruct", **spec)
    cluster = ClusterOfOne(cr=cr, context=context, learned=dict(learned or {}))
    cluster.step()
    cluster.read_shape(REPORT)
    cluster.settle()
    cluster.pods = ()
    assert "plan" in cluster.cr["status"], cluster.cr["status"]
    return cluster


def plan(cluster: ClusterOfOne) -> dict[str, Any]:
    found: dict[str, Any] = cluster.cr["status"]["plan"]
    return found


def update(cluster: ClusterOfOne) -> str:
    name: str = cluster.cr["status"]["updateRevision"]
    return name


STARTED = "2026-01-02T03:00:00Z"


def fail(
    cluster: ClusterOfOne,
    shortage: Shortage,
    reason: str = "KVCacheTooSmall",
    unready_since: str = "2026-01-02T02:59:00Z",
) -> Outcome:
    """The engine of the update revision ends with this."""
    failure = Failure(reason=reason, message="the engine's words", fix="a fix", shortage=shortage)
    message = failure.model_dump_json(exclude_none=True)
    ended = builders.ended("engine", 1, message, startedAt=STARTED)
    cluster.serve(ready=False, containers=[ended], name=f"pod-{update(cluster)}")
    (ready, *_) = cluster.pods[-1].object["status"]["conditions"]
    ready["lastTransitionTime"] = unready_since
    return cluster.step()


def lacking(cluster: ClusterOfOne, bytes_: int) -> Shortage:
    """The engine had so much less for its KV cache than was planned."""
    had = plan(cluster)["kvCacheBytes"] - bytes_
    return Shortage(step=Short.KV_CACHE, needed_bytes=had + 1, available_bytes=had)


def serve(cluster: ClusterOfOne, **measured: int) -> Outcome:
    """The engine of the update revision serves, and tells what it measured."""
    engine = EngineStatus(name="m", phase=Phase.SERVING, measured=Measured(**measured))
    cluster.serve(report=PodStatus(phase=Phase.SERVING, engines=[engine]))
    return cluster.settle()


def names_of_revisions(cluster: ClusterOfOne, kind: str) -> list[str]:
    return [one["metadata"]["labels"][names.LABEL_REVISION] for one in cluster.kind(kind)]


def condition_message(cluster: ClusterOfOne) -> str:
    found: str = next(
        one["message"] for one in cluster.cr["status"]["conditions"] if one["type"] == "Planned"
    )
    return found


def test_a_kv_cache_that_is_too_small_is_planned_once_more_from_what_was_there() -> None:
    cluster = deployed()
    first, failed = plan(cluster), update(cluster)
    outcome = fail(cluster, lacking(cluster, 512 * MIB))
    again = plan(cluster)
    assert again["learnedFrom"] == f"the failure of revision {failed} (KVCacheTooSmall)"
    assert 512 * MIB <= first["kvCacheBytes"] - again["kvCacheBytes"] < 600 * MIB
    assert again["maxModelLen"] < first["maxModelLen"]
    assert names_of_revisions(cluster, "Deployment") == [update(cluster)]
    assert sorted(names_of_revisions(cluster, "ControllerRevision")) == sorted(
        [failed, update(cluster)]
    )
    assert (EventType.WARNING, "KVCacheTooSmall") in [(e.type, e.reason) for e in outcome.events]
    assert cluster.cr["status"]["lastFailure"]["reason"] == "KVCacheTooSmall"
    assert cluster.cr["status"]["lastFailure"]["pod"] == f"pod-{failed}"


def test_the_second_attempt_serves_and_the_loop_is_at_rest() -> None:
    cluster = deployed()
    fail(cluster, lacking(cluster, 512 * MIB))
    cluster.settle()
    second = update(cluster)
    outcome = serve(cluster, kv_cache_bytes=plan(cluster)["kvCacheBytes"])
    assert cluster.cr["status"]["phase"] == "Serving"
    assert update(cluster) == second
    assert outcome.learn == ()
    assert cluster.cr["status"]["lastFailure"]["reason"] == "KVCacheTooSmall"


def test_if_the_second_attempt_fails_too_its_own_words_stand() -> None:
    cluster = deployed()
    fail(cluster, lacking(cluster, 512 * MIB))
    cluster.settle()
    second = update(cluster)
    fail(cluster, lacking(cluster, 512 * MIB))
    cluster.settle()
    status = cluster.cr["status"]
    assert update(cluster) == second
    assert (status["phase"], status["reason"]) == ("Failed", "KVCacheTooSmall")
    assert status["message"] == "the engine's words. Fix: a fix"
    assert len(cluster.kind("Deployment")) == 1


def test_a_context_that_the_user_set_is_refused_rather_than_shortened() -> None:
    longest = plan(deployed())["maxModelLen"]
    cluster = deployed(runtime=BATCH | {"maxModelLen": longest})
    failed = update(cluster)
    fail(cluster, lacking(cluster, 512 * MIB))
    cluster.settle()
    status = cluster.cr["status"]
    assert status["reason"] == "DoesNotFit"
    assert status["message"].startswith("the engine's words; planned once more: ")
    assert "too much" in status["message"]
    assert "Fix: set spec.runtime.maxModelLen to at most " in condition_message(cluster)
    assert names_of_revisions(cluster, "ControllerRevision") == [failed]


def test_where_no_plan_is_left_and_nothing_was_set_the_engines_words_stand() -> None:
    cluster = deployed()
    failed = update(cluster)
    fail(cluster, lacking(cluster, 40 * GIB))
    cluster.settle()
    assert update(cluster) == failed
    status = cluster.cr["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "KVCacheTooSmall")
    assert status["message"] == "the engine's words. Fix: a fix"


def test_a_model_that_names_no_accelerator_does_not_leave_its_own() -> None:
    cluster = deployed()
    larger = PROFILE | {"name": "h100", "memory": "80Gi"}
    cluster.context = builders.context(acceleratorProfiles=[PROFILE, larger])
    fail(cluster, lacking(cluster, 40 * GIB))
    cluster.settle()
    assert plan(cluster)["accelerator"] == "a10"


def test_the_next_accelerator_of_the_list_is_another_way_out() -> None:
    larger = PROFILE | {"name": "h100", "memory": "80Gi"}
    cluster = deployed()
    cluster.context = builders.context(acceleratorProfiles=[PROFILE, larger])
    cluster.change(accelerators=[{"profile": "a10"}, {"profile": "h100"}])
    cluster.settle()
    assert plan(cluster)["accelerator"] == "a10"
    fail(cluster, lacking(cluster, 40 * GIB))
    cluster.settle()
    assert plan(cluster)["accelerator"] == "h100"


def test_an_engine_that_would_be_started_as_before_is_not_started_anew() -> None:
    """A short context fits whatever lacked: then the engine's word, and not ours, is the truth."""
    cluster = deployed(runtime={"maxModelLen": 2048})
    failed = update(cluster)
    fail(cluster, lacking(cluster, 512 * MIB))
    cluster.settle()
    assert update(cluster) == failed
    assert cluster.cr["status"]["reason"] == "KVCacheTooSmall"


def test_what_ran_out_beside_the_kv_cache_makes_the_share_of_the_card_smaller() -> None:
    cluster = deployed()
    numbers = {"needed_bytes": 1536 * MIB, "available_bytes": 512 * MIB}
    fail(cluster, Shortage(step=Short.RUNNING, **numbers), "OutOfMemory")
    cluster.settle()
    freed = (0.92 - float(plan(cluster)["gpuMemoryFraction"])) * 24 * GIB
    assert GIB <= freed < 1.3 * GIB
    (record,) = cluster.learned.values()
    assert (record.reason, record.extra_bytes) == ("OutOfMemory", 0)
    assert GIB <= record.outside_bytes < 1.3 * GIB


def share(cluster: ClusterOfOne) -> float:
    return float(plan(cluster)["gpuMemoryFraction"])


@pytest.mark.parametrize("more", [0, 700 * MIB, 1500 * MIB])
@pytest.mark.parametrize("runtime", [BATCH, {}], ids=["a batch", "any batch"])
def test_a_good_start_does_not_raise_the_share_that_just_ran_out(
    runtime: dict[str, Any], more: int
) -> None:
    cluster = deployed(runtime=runtime)
    ran_out = share(cluster)
    fail(cluster, Shortage(step=Short.RUNNING), "OutOfMemory")
    cluster.settle()
    second = plan(cluster)
    serve(cluster, kv_cache_bytes=second["kvCacheBytes"] + more)
    again = deployed(cluster.learned, runtime=runtime)
    assert share(again) == float(second["gpuMemoryFraction"]) < ran_out
    assert plan(again)["kvCacheBytes"] >= second["kvCacheBytes"]
    serve(again, kv_cache_bytes=plan(again)["kvCacheBytes"] + more)
    assert share(deployed(again.learned, runtime=runtime)) == share(again)


def test_a_cache_that_is_too_small_after_that_keeps_the_smaller_share() -> None:
    cluster = deployed()
    fail(cluster, Shortage(step=Short.RUNNING), "OutOfMemory")
    cluster.settle()
    again = deployed(cluster.learned)
    smaller = share(again)
    fail(again, lacking(again, 512 * MIB))
    again.settle()
    assert share(again) == smaller


def test_a_credit_of_one_batch_is_not_given_to_another() -> None:
    """Both are what auto became: 256 sequences reserve what 128 have no need of."""
    first = deployed(card=ROOMY, runtime={})
    serve(first, kv_cache_bytes=plan(first)["kvCacheBytes"] + 250 * MIB)
    assert first.learned
    untaught = deployed(card=LESS_ROOMY, runtime={})
    taught = deployed(first.learned, card=LESS_ROOMY, runtime={})
    assert plan(untaught)["maxNumSeqs"] < plan(first)["maxNumSeqs"]
    assert plan(taught) == plan(untaught)


def test_a_credit_may_make_room_for_the_batch_that_it_was_measured_at() -> None:
    first = deployed(card=ROOMY, runtime={})
    serve(first, kv_cache_bytes=plan(first)["kvCacheBytes"] + GIB)
    taught = deployed(first.learned, card=LESS_ROOMY, runtime={})
    assert plan(taught)["maxNumSeqs"] == plan(first)["maxNumSeqs"]
    assert plan(taught)["learnedFrom"] == "Measured on 2026-01-02"


def test_what_auto_became_is_remembered_as_if_it_had_been_set() -> None:
    first = deployed(runtime={})
    sequences = plan(first)["maxNumSeqs"]
    serve(first, kv_cache_bytes=plan(first)["kvCacheBytes"] + 600 * MIB)
    same = deployed(first.learned, runtime={"maxNumSeqs": sequences})
    assert plan(same)["learnedFrom"] == "Measured on 2026-01-02"


def test_a_share_that_the_user_set_stays_and_the_engines_words_stand() -> None:
    cluster = deployed(memory={"gpuMemoryFraction": "0.92"})
    failed = update(cluster)
    fail(cluster, Shortage(step=Short.RUNNING), "OutOfMemory")
    cluster.settle()
    assert update(cluster) == failed
    assert cluster.cr["status"]["reason"] == "OutOfMemory"
    assert cluster.learned == {}


def test_an_engine_that_has_served_is_not_planned_anew() -> None:
    cluster = deployed()
    served = update(cluster)
    serve(cluster, kv_cache_bytes=plan(cluster)["kvCacheBytes"])
    fail(cluster, Shortage(step=Short.RUNNING), "OutOfMemory", "2026-01-02T03:04:00Z")
    cluster.settle()
    assert update(cluster) == served
    assert cluster.cr["status"]["reason"] == "OutOfMemory"


def test_an_old_revision_serves_on_while_the_new_one_is_planned_once_more() -> None:
    cluster = deployed(runtime=BATCH | {"maxModelLen": 4096})
    serve(cluster, kv_cache_bytes=plan(cluster)["kvCacheBytes"])
    old = update(cluster)
    cluster.change(runtime=BATCH)
    cluster.settle()
    fail(cluster, lacking(cluster, 512 * MIB))
    cluster.settle()
    assert sorted(names_of_revisions(cluster, "Deployment")) == sorted([old, update(cluster)])
    assert cluster.cr["status"]["currentRevision"] == old
    assert cluster.cr["status"]["readyReplicas"] == 1


def test_measures_stand_beside_the_plan_with_their_deviation() -> None:
    cluster = deployed()
    card = plan(cluster)["usableBytes"] / 0.92
    serve(
        cluster,
        weights_bytes=plan(cluster)["weightsBytes"],
        kv_cache_bytes=plan(cluster)["kvCacheBytes"] - int(card * 0.02),
    )
    assert plan(cluster)["deviationPercent"] == {"weightsBytes": 0, "kvCacheBytes": -2}


def test_what_one_deployment_measured_the_next_one_is_planned_with() -> None:
    first = deployed()
    planned = plan(first)
    serve(first, kv_cache_bytes=planned["kvCacheBytes"] - GIB)
    (record,) = first.learned.values()
    assert (record.extra_bytes, record.reason) == (GIB, "Measured")
    assert (record.model, record.accelerator) == ("hf://meta-llama/Llama-3.1-8B-Instruct", "a10")

    again = plan(deployed(first.learned))
    assert abs(planned["kvCacheBytes"] - GIB - again["kvCacheBytes"]) < 4 * MIB
    assert again["learnedFrom"] == "Measured on 2026-01-02"
    image = {"image": "example.test/vllm-openai:2"}
    other = plan(deployed(first.learned, runtime=BATCH | image))
    assert "learnedFrom" not in other


def test_a_deployment_that_was_corrected_and_right_confirms_the_record() -> None:
    cluster = deployed()
    fail(cluster, lacking(cluster, 512 * MIB))
    cluster.settle()
    (before,) = cluster.learned.values()
    serve(cluster, kv_cache_bytes=plan(cluster)["kvCacheBytes"])
    assert list(cluster.learned.values()) == [before]
    assert before.reason == "KVCacheTooSmall"


def test_a_running_model_is_not_planned_anew_by_what_others_learn() -> None:
    cluster = deployed()
    serve(cluster, kv_cache_bytes=plan(cluster)["kvCacheBytes"])
    before = update(cluster)
    other = deployed()
    serve(other, kv_cache_bytes=plan(other)["kvCacheBytes"] - GIB)
    cluster.learned = dict(other.learned)
    cluster.settle()
    assert update(cluster) == before


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_cpu_pod_that_was_killed_for_memory_is_planned_with_a_smaller_kv_cache(
    restarts: int,
) -> None:
    cluster = ClusterOfOne()
    cluster.step()
    cluster.read_shape()
    cluster.settle()
    cluster.pods = ()
    before = plan(cluster)
    killed = builders.ended("engine", 137, reason="OOMKilled", restarts=restarts)
    cluster.serve(ready=False, containers=[killed])
    cluster.settle()
    assert plan(cluster)["kvCacheBytes"] < before["kvCacheBytes"]
    assert plan(cluster)["memoryBytes"] == before["memoryBytes"]


@pytest.mark.parametrize(
    "spec",
    [
        {"parallelism": {"tensor": 3}},
        {"resources": {"memory": "5Gi"}},
        {"parallelism": {"tensor": 3}, "resources": {"memory": "5Gi"}},
    ],
    ids=["tensor parallel", "its own memory", "both"],
)
def test_what_a_cpu_pod_taught_is_found_again(spec: dict[str, Any]) -> None:
    def planned(learned: dict[str, Record]) -> ClusterOfOne:
        cr = builders.model_deployment(**spec)
        cluster = ClusterOfOne(cr=cr, learned=dict(learned))
        cluster.step()
        cluster.read_shape()
        cluster.settle()
        cluster.pods = ()
        return cluster

    first = planned({})
    killed = builders.ended("engine", 137, reason="OOMKilled")
    first.serve(ready=False, containers=[killed])
    first.settle()
    assert first.learned
    again = plan(planned(first.learned))
    assert again["learnedFrom"] == "OutOfMemory on 2026-01-02"
    assert again["kvCacheBytes"] == plan(first)["kvCacheBytes"]


def test_where_the_batch_is_ours_to_choose_it_shrinks_before_the_context() -> None:
    cluster = deployed(card=ROOMY, runtime={})
    first = plan(cluster)
    fail(cluster, lacking(cluster, 512 * MIB))
    cluster.settle()
    assert plan(cluster)["maxNumSeqs"] < first["maxNumSeqs"]
    assert plan(cluster)["maxModelLen"] == first["maxModelLen"]
    assert "learnedFrom" in plan(cluster)
