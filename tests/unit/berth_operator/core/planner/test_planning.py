"""From a spec to a revision, over a model's life: which accelerator, and when another."""

import time
from datetime import timedelta
from typing import Any

import builders
import gpu_nodes
import pytest
from fakes.cluster_of_one import ClusterOfOne
from gpu_nodes import GpuNode

from berth_api import names
from berth_api.shape import ShapeReport
from berth_operator.core.observed import Pod
from berth_operator.core.outcome import EventType, Outcome
from berth_operator.core.planner.alternatives import MOST
from berth_operator.core.planner.planning import Planned, plan
from berth_operator.core.resolved import resolve

LIMIT = 60  # seconds
LLAMA_8B = {
    "commit": "c",
    "config": dict(builders.LLAMA_8B_CONFIG),
    "tensorBytes": {"BF16": 16_060_522_496},
    "tensorCount": 291,
    "fileBytes": 16_060_556_616,
}


def profile(name: str, **fields: Any) -> dict[str, Any]:
    base = {"name": name, "engineProfile": "vllm", "resource": "nvidia.com/gpu"}
    return base | fields


def product(name: str) -> dict[str, Any]:
    return {"nodeSelector": {"nvidia.com/gpu.product": name}}


PROFILES = [
    profile("h100", memory="80Gi", gpusPerNode=8, **product("NVIDIA-H100-80GB-HBM3")),
    profile("l40s", **product("NVIDIA-L40S")),
    profile("l4", **product("NVIDIA-L4")),
    profile("slice", resource="nvidia.com/mig-3g.40gb"),
    profile("any"),
    profile("small", memory="12Gi", gpusPerNode=1, nodeSelector={"pool": "small"}),
    {"name": "cpu", "engineProfile": "vllm-cpu", "memory": "6Gi"},
]


def cluster(
    *nodes: GpuNode, wanted: tuple[str, ...] = (), report: Any = LLAMA_8B, **spec: Any
) -> ClusterOfOne:
    """A model whose shape is known before it is applied."""
    context = builders.context(acceleratorProfiles=PROFILES, acceleratorFallbackSeconds=LIMIT)
    listed = [{"profile": name} for name in wanted]
    made = ClusterOfOne(
        cr=builders.model_deployment(**({"accelerators": listed} if listed else {}), **spec),
        context=context,
        known={"nodes": tuple(node.seen() for node in nodes)},
    )
    made.step()
    if made.kind("Job"):
        made.read_shape(report)
        made.step()
        made.pods = ()
    return made


def status(one: ClusterOfOne) -> dict[str, Any]:
    found: dict[str, Any] = one.cr["status"]
    return found


def no_room(
    one: ClusterOfOne, seconds: float, message: str = "3 Insufficient nvidia.com/gpu"
) -> None:
    """The scheduler's answer, so long ago, for the pods of the update revision."""
    now = builders.NOW + timedelta(seconds=one.seconds)
    since = (now - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    refused = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": f"0/3 nodes are available: {message}.",
        "lastTransitionTime": since,
    }
    revision = status(one)["updateRevision"]
    pod = builders.engine_pod(revision, name="waits", conditions=[refused])
    one.pods = (Pod(pod | {"spec": {}}),)


def tried(one: ClusterOfOne) -> list[str]:
    revisions = sorted(one.kind("ControllerRevision"), key=lambda found: found["revision"])
    return [found["data"]["plan"]["accelerator"] for found in revisions]


def deployed(one: ClusterOfOne) -> list[str]:
    return [found["metadata"]["labels"][names.LABEL_REVISION] for found in one.kind("Deployment")]


def limits(one: ClusterOfOne) -> dict[str, str]:
    (found,) = one.kind("Deployment")
    limits: dict[str, str] = found["spec"]["template"]["spec"]["containers"][0]["resources"][
        "limits"
    ]
    return limits


def test_the_first_entry_that_fits_is_planned_and_the_earlier_ones_say_why_not() -> None:
    one = cluster(gpu_nodes.l4(), wanted=("slice", "l40s", "l4"))
    plan = status(one)["plan"]
    assert plan["accelerator"] == "l4"
    assert limits(one)["nvidia.com/gpu"] == "1"
    told = {lost["accelerator"]: lost["reason"] for lost in plan["alternatives"]}
    assert "no node offers nvidia.com/mig-3g.40gb" in told["slice"]
    assert "no node offers nvidia.com/gpu for accelerator profile l40s" in told["l40s"]


def test_an_entry_that_is_too_small_says_by_how_much_in_the_plan_of_the_next() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("small", "l40s"))
    plan = status(one)["plan"]
    (lost,) = (lost for lost in plan["alternatives"] if lost["accelerator"] == "small")
    assert plan["accelerator"] == "l40s"
    assert "too much" in lost["reason"]


def test_where_nothing_is_offered_every_entry_says_why() -> None:
    one = cluster(wanted=("l40s", "typo"))
    told = status(one)
    assert told["reason"] == "InsufficientGPU"
    assert "accelerator profile l40s" in told["message"]
    assert "spec.accelerators[1].profile typo" in told["message"]
    assert one.kind("Job") == []


def test_where_nothing_fits_every_entry_says_why() -> None:
    one = cluster(gpu_nodes.l4(), wanted=("l4", "l40s"), runtime={"maxModelLen": 131072})
    told = status(one)
    assert told["reason"] == "DoesNotFit"
    assert "too much" in told["message"]
    assert "no node offers nvidia.com/gpu for accelerator profile l40s" in told["message"]
    assert one.kind("Deployment") == []


def test_the_gpus_that_an_entry_asks_for_are_its_own() -> None:
    wanted = [{"profile": "slice", "gpusPerReplica": 2}, {"profile": "h100", "gpusPerReplica": 4}]
    one = cluster(gpu_nodes.h100(), gpu_nodes.mig_mixed(), accelerators=wanted)
    assert status(one)["plan"]["accelerator"] == "h100"
    assert limits(one)["nvidia.com/gpu"] == "4"


def test_of_a_profile_with_several_kinds_of_cards_the_smallest_that_fits_is_asked_for() -> None:
    one = cluster(gpu_nodes.h100(), gpu_nodes.l4(), gpu_nodes.mig_single(), wanted=("any",))
    (found,) = one.kind("Deployment")
    held_to = found["spec"]["template"]["spec"]["nodeSelector"]
    assert held_to["nvidia.com/gpu.memory"] == str(gpu_nodes.L4)


def test_a_tenant_of_a_shared_card_takes_its_part_of_it() -> None:
    shared = gpu_nodes.time_sliced(pods=4)
    one = cluster(shared, wanted=("any",), report=builders.SMOLLM2_REPORT)
    plan = status(one)["plan"]
    assert (plan["tensorParallelSize"], plan["gpuMemoryFraction"]) == (1, "0.230")
    assert 4 * plan["usableBytes"] < gpu_nodes.L40S * 2**20


def test_the_shape_is_read_on_a_node_that_is_there() -> None:
    one = cluster(gpu_nodes.l4(), wanted=("h100", "l4"))
    one = ClusterOfOne(cr=one.cr, context=one.context, known=one.known)
    one.step()
    (job,) = one.kind("Job")
    held_to = job["spec"]["template"]["spec"]["nodeSelector"]
    assert held_to == {"nvidia.com/gpu.product": "NVIDIA-L4"}


def test_a_model_that_no_node_has_room_for_goes_to_its_next_accelerator() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    first = status(one)["updateRevision"]
    assert status(one)["plan"]["accelerator"] == "h100"
    no_room(one, LIMIT)
    outcome = one.step()
    assert tried(one) == ["h100", "l40s"]
    assert [gone.name for gone in outcome.delete if gone.kind == "Deployment"] == [
        names.revision_name("smollm2", first)
    ]
    assert deployed(one) == [status(one)["updateRevision"]]
    plan = status(one)["plan"]
    assert plan["accelerator"] == "l40s"
    (lost,) = (lost for lost in plan["alternatives"] if lost["accelerator"] == "h100")
    assert lost["reason"] == f"no node had room for {LIMIT} s"
    told = [event for event in outcome.events if event.reason == "AcceleratorFallback"]
    assert [event.type for event in told] == [EventType.WARNING]
    assert "h100" in told[0].message
    assert "l40s" in told[0].message


def test_the_next_accelerator_is_not_gone_to_before_its_time_and_then_at_once() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    no_room(one, LIMIT - 1)
    outcome = one.step()
    assert tried(one) == ["h100"]
    assert status(one)["reason"] == "InsufficientGPU"
    assert f"l40s is tried after {LIMIT} s" in status(one)["message"]
    assert outcome.look_again_seconds is not None
    assert outcome.look_again_seconds <= 1
    one.seconds += outcome.look_again_seconds
    one.step()
    assert tried(one) == ["h100", "l40s"]


def test_an_event_is_told_once() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    no_room(one, LIMIT)

    def told(outcome: Outcome) -> int:
        return sum(event.reason == "AcceleratorFallback" for event in outcome.events)

    assert [told(one.step()) for _ in range(3)] == [1, 0, 0]


def test_no_accelerator_is_tried_twice_and_the_last_is_stayed_on_and_says_so() -> None:
    one = cluster(gpu_nodes.l40s(), gpu_nodes.l4(), wanted=("h100", "l40s", "l4"))
    for _ in range(6):
        no_room(one, LIMIT + 1)
        one.settle()
        one.seconds += LIMIT
    assert tried(one) == ["h100", "l40s", "l4"]
    assert len(deployed(one)) == 1
    told = status(one)
    assert (told["plan"]["accelerator"], told["reason"]) == ("l4", "InsufficientGPU")
    assert "no other of spec.accelerators is left" in told["message"]
    lost = {one["accelerator"]: one["reason"] for one in told["plan"]["alternatives"]}
    assert lost == dict.fromkeys(("h100", "l40s"), f"no node had room for {LIMIT} s")


def test_an_entry_that_does_not_fit_is_passed_over() -> None:
    wanted = [{"profile": "h100"}, {"profile": "l40s", "gpusPerReplica": 8}, {"profile": "l4"}]
    one = cluster(gpu_nodes.l40s(), gpu_nodes.l4(), accelerators=wanted)
    no_room(one, LIMIT)
    one.step()
    assert tried(one) == ["h100", "l4"]
    told = {lost["accelerator"]: lost["reason"] for lost in status(one)["plan"]["alternatives"]}
    assert "8 GPUs" in told["l40s"]


def test_a_pod_that_has_a_node_keeps_its_accelerator() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    no_room(one, 10 * LIMIT)
    placed = builders.engine_pod(status(one)["updateRevision"], name="other")
    one.pods = (*one.pods, Pod(placed))
    one.settle()
    assert tried(one) == ["h100"]


def test_a_volume_that_is_missing_is_no_reason_to_leave() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    no_room(one, 10 * LIMIT, 'persistentvolumeclaim "models" not found')
    one.settle()
    assert tried(one) == ["h100"]


def test_a_model_that_names_no_accelerator_does_not_go_from_gpus_to_the_cpu() -> None:
    one = cluster(gpu_nodes.l4(), report=builders.SMOLLM2_REPORT)
    assert status(one)["plan"]["accelerator"] == "h100"
    no_room(one, 10 * LIMIT)
    one.settle()
    assert tried(one) == ["h100"]


def test_a_full_kind_of_card_is_left_for_a_larger_one_of_the_same_profile() -> None:
    one = cluster(gpu_nodes.l4(), gpu_nodes.h100(), wanted=("any",))
    no_room(one, LIMIT)
    one.step()
    assert tried(one) == ["any", "any"]
    (found,) = one.kind("Deployment")
    held_to = found["spec"]["template"]["spec"]["nodeSelector"]
    assert held_to["nvidia.com/gpu.memory"] == str(gpu_nodes.H100)


def test_what_is_tried_next_is_told_by_the_stored_revisions_after_a_restart() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    no_room(one, LIMIT)
    one.step()
    second = status(one)["updateRevision"]
    again = ClusterOfOne(cr=one.cr, context=one.context, objects=one.objects, known=one.known)
    again.cr = {key: value for key, value in again.cr.items() if key != "status"}
    again.settle()
    assert status(again)["updateRevision"] == second
    assert tried(again) == ["h100", "l40s"]


def test_tried_accelerators_are_remembered_beyond_the_history_limit() -> None:
    rollout = {"revisionHistoryLimit": 1}
    nodes = (gpu_nodes.l40s(), gpu_nodes.l4(), gpu_nodes.mig_mixed())
    one = cluster(*nodes, wanted=("h100", "l40s", "l4", "slice"), rollout=rollout)
    for _ in range(4):
        no_room(one, LIMIT)
        one.settle()
    assert tried(one) == ["h100", "l40s", "l4", "slice"]


def test_the_revision_that_serves_goes_on_while_the_new_one_looks_for_a_place() -> None:
    one = cluster(gpu_nodes.l40s(), gpu_nodes.l4(), wanted=("l4",))
    serving, waiting = waits_beside(one, wanted=("h100", "l40s"))
    one.step()
    assert status(one)["updateRevision"] not in (serving, waiting)
    assert set(deployed(one)) == {serving, status(one)["updateRevision"]}
    assert status(one)["phase"] == "Serving"


@pytest.mark.parametrize("seconds", [LIMIT, 100 * LIMIT])
def test_an_accelerator_that_the_old_revision_holds_is_not_left(seconds: int) -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    serving, waiting = waits_beside(one, wanted=("h100", "l40s"), seconds=seconds)
    one.settle()
    assert tried(one) == ["h100", "h100"]
    assert set(deployed(one)) == {serving, waiting}
    scheduled = next(c for c in status(one)["conditions"] if c["type"] == "Scheduled")
    assert f"revision {serving} of this model holds h100" in scheduled["message"]
    assert "spec.rollout.strategy to Recreate" in scheduled["message"]


def test_once_the_old_revision_goes_first_the_wait_for_its_card_is_forgotten() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    serving, waiting = waits_beside(one, wanted=("h100", "l40s"), seconds=100 * LIMIT)
    one.step()
    one.change(rollout={"strategy": "Recreate"})
    one.drain()
    assert replicas(one) == {serving: 0, waiting: 0}
    one.pods = ()
    one.settle()
    assert replicas(one) == {serving: 0, waiting: 1}
    no_room(one, LIMIT - 1)
    one.settle()
    assert tried(one) == ["h100", "h100"]
    no_room(one, LIMIT)
    one.settle()
    assert tried(one) == ["h100", "h100", "l40s"]


def waits_beside(
    one: ClusterOfOne, *, wanted: tuple[str, ...], seconds: int = LIMIT
) -> tuple[str, str]:
    """The revision that serves, and one of a changed spec whose pod finds no place."""
    one.serve()
    one.settle()
    serving = status(one)["updateRevision"]
    listed = [{"profile": name} for name in wanted]
    one.change(runtime={"maxModelLen": 4096}, accelerators=listed)
    one.settle()
    waiting, served = status(one)["updateRevision"], one.pods
    no_room(one, seconds)
    one.pods = (*served, *one.pods)
    return serving, waiting


def replicas(one: ClusterOfOne) -> dict[str, int]:
    return {
        found["metadata"]["labels"][names.LABEL_REVISION]: found["spec"]["replicas"]
        for found in one.kind("Deployment")
    }


def test_many_kinds_of_cards_make_a_status_of_few_lines() -> None:
    nodes = [
        GpuNode(f"n{number}", {"nvidia.com/gpu.memory": str(9000 + number)}, {"nvidia.com/gpu": 1})
        for number in range(40)
    ]
    one = cluster(*nodes, wanted=("any", "any", "small", "any"), runtime={"maxModelLen": 131072})
    told = status(one)
    assert told["reason"] == "DoesNotFit"
    assert len(told["plan"]["alternatives"]) == MOST
    assert told["plan"]["alternatives"][-1]["reason"].endswith("; and 8 more")


def test_an_accelerator_that_had_room_after_all_serves_until_the_next_one_does() -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100", "l40s"))
    first = status(one)["updateRevision"]
    before = dict(one.objects)
    no_room(one, LIMIT)
    one.step()
    one.objects = before | one.objects  # its deletion came too late
    one.serve(first)
    one.settle()
    assert set(deployed(one)) == {first, status(one)["updateRevision"]}
    assert status(one)["phase"] == "Serving"


@pytest.mark.parametrize("seconds", [0, LIMIT - 1, LIMIT, 10 * LIMIT])
def test_a_single_accelerator_is_never_left(seconds: int) -> None:
    one = cluster(gpu_nodes.l40s(), wanted=("h100",))
    no_room(one, seconds)
    one.settle()
    assert tried(one) == ["h100"]
    assert status(one)["reason"] == "InsufficientGPU"


def test_a_plan_on_a_thousand_nodes_of_four_kinds_takes_less_than_50_ms() -> None:
    kinds = (gpu_nodes.h100, gpu_nodes.l40s, gpu_nodes.l4, gpu_nodes.mig_mixed)
    nodes = tuple(make(f"node-{number}").seen() for number in range(250) for make in kinds)
    cr = builders.model_deployment(accelerators=[{"profile": "any"}])
    shapes = {cr["spec"]["model"]["source"]: ShapeReport.model_validate(LLAMA_8B)}
    observed = builders.observed(cr, nodes=nodes, shapes=shapes)
    resolved, context = resolve(cr), builders.context(acceleratorProfiles=PROFILES)

    def seconds() -> float:
        started = time.process_time()
        assert isinstance(plan(observed, resolved, context), Planned)
        return time.process_time() - started

    assert min(seconds() for _ in range(3)) < 0.05
