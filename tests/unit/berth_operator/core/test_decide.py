"""The life of one ModelDeployment, decision by decision."""

import json
from dataclasses import replace

import builders
import pytest
from fakes.cluster_of_one import ClusterOfOne, planned, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from berth_api import names
from berth_api.server import EngineStatus, Measured, Phase, PodStatus
from berth_operator.core.decide import decide
from berth_operator.core.kubernetes import is_serving, timestamp
from berth_operator.core.observed import Node, Observed, Pod, Refusal


def ready_condition(cluster: ClusterOfOne) -> tuple[str, str]:
    found = next(c for c in cluster.cr["status"]["conditions"] if c["type"] == "Ready")
    return found["status"], found["reason"]


def test_a_new_model_asks_for_its_shape_and_nothing_else() -> None:
    cluster = ClusterOfOne()
    cluster.settle()
    assert [kind for kind, _ in cluster.objects] == ["Job"]
    assert cluster.cr["status"]["phase"] == "Planning"


def test_a_known_shape_becomes_a_plan_and_its_objects_in_the_order_of_need() -> None:
    cluster = ClusterOfOne()
    cluster.step()
    cluster.read_shape()
    outcome = cluster.step()
    kinds = [one["kind"] for one in outcome.apply]
    assert kinds == ["Secret", "Service", "PodDisruptionBudget", "ControllerRevision", "Deployment"]
    assert [gone.kind for gone in outcome.delete] == ["Job"]
    assert cluster.cr["status"]["plan"]["weightsBytes"] == 2 * builders.SMOLLM2_BYTES


def test_a_second_look_at_the_same_world_decides_the_same() -> None:
    cluster = serving()
    first, second = cluster.step(), cluster.step()
    assert (first.apply, first.delete, first.status) == (second.apply, second.delete, second.status)
    assert second.events == ()
    assert second.look_again_seconds is None or second.poll


def test_phases_of_the_pod_are_the_phases_of_the_model() -> None:
    cluster = planned()
    report = PodStatus(phase=Phase.FETCHING, percent=43, eta_seconds=12)
    cluster.serve(ready=False, report=report)
    outcome = cluster.settle()
    status = cluster.cr["status"]
    assert (status["phase"], status["progress"]) == ("Fetching", "43%")
    assert status["load"] == {"phase": "Fetching", "percent": 43, "etaSeconds": 12}
    assert ready_condition(cluster) == ("False", "Activating")
    assert outcome.look_again_seconds == 1.0


def test_a_ready_pod_serves() -> None:
    cluster = serving()
    assert cluster.cr["status"]["phase"] == "Serving"
    assert ready_condition(cluster) == ("True", "Serving")
    assert cluster.cr["status"]["readyReplicas"] == 1


def test_measures_stand_beside_the_plan_and_outlive_the_report() -> None:
    cluster = planned()
    measured = Measured(kv_cache_tokens=67_072, kv_cache_bytes=3_090_677_760)
    engine = EngineStatus(name="smollm2", phase=Phase.SERVING, measured=measured)
    cluster.serve(report=PodStatus(phase=Phase.SERVING, engines=[engine]))
    cluster.settle()
    cluster.serve()
    outcome = cluster.settle()
    assert cluster.cr["status"]["plan"]["measured"]["kvCacheTokens"] == 67_072
    assert outcome.poll == ()


def test_a_change_of_replicas_or_names_keeps_the_revision() -> None:
    cluster = serving()
    before = cluster.cr["status"]["updateRevision"]
    cluster.change(replicas=3, model=cluster.cr["spec"]["model"] | {"aliases": ["gpt-4o-mini"]})
    cluster.settle()
    assert cluster.cr["status"]["updateRevision"] == before
    assert cluster.kind("Deployment")[0]["spec"]["replicas"] == 3


def test_a_new_berth_renders_no_old_revision_again() -> None:
    cluster = serving()
    template = cluster.kind("Deployment")[0]["spec"]["template"]
    cluster.context = builders.context(controlImage="example.test/berth-control:2")
    cluster.settle()
    assert cluster.kind("Deployment")[0]["spec"]["template"] == template


def test_a_new_revision_starts_beside_the_old_one_and_replaces_it_once_it_is_ready() -> None:
    cluster = serving()
    old = cluster.cr["status"]["updateRevision"]
    cluster.change(runtime={"maxModelLen": 4096})
    cluster.settle()
    new = cluster.cr["status"]["updateRevision"]
    assert new != old
    assert len(cluster.kind("Deployment")) == 2
    assert cluster.cr["status"]["currentRevision"] == old
    assert ready_condition(cluster) == ("True", "Serving")
    cluster.serve(new, name="new")
    cluster.drain()
    assert [d["metadata"]["labels"][names.LABEL_REVISION] for d in cluster.kind("Deployment")] == [
        new
    ]
    assert cluster.cr["status"]["currentRevision"] == new


def test_recreate_empties_the_old_revision_before_the_new_one_starts() -> None:
    cluster = serving()
    cluster.change(runtime={"maxModelLen": 4096}, rollout={"strategy": "Recreate"})
    cluster.settle()
    assert [d["spec"]["replicas"] for d in cluster.kind("Deployment")] == [1, 0]
    cluster.drain()
    assert [d["spec"]["replicas"] for d in cluster.kind("Deployment")] == [0, 0]
    cluster.pods = ()
    cluster.settle()
    assert [d["spec"]["replicas"] for d in cluster.kind("Deployment")] == [0, 1]


def test_the_same_source_is_not_read_twice() -> None:
    cluster = serving()
    cluster.change(runtime={"maxModelLen": 4096})
    cluster.settle()
    assert cluster.kind("Job") == []


def test_a_broken_plan_leaves_the_old_revision_serving() -> None:
    cluster = serving()
    cluster.change(runtime={"maxModelLen": 9000})
    cluster.settle()
    status = cluster.cr["status"]
    assert (status["phase"], status["reason"]) == ("Serving", "InvalidSpec")
    assert "9000 tokens are asked, and the model has 8192 positions" in status["message"]
    assert len(cluster.kind("Deployment")) == 1


FAILURES = {
    "not found": ("NotFound", "hf://a/b does not exist"),
    "gated": ("GatedModel", "hf://a/b is gated"),
    "wrong token": ("AuthFailed", "the hub refused the token"),
    "pickles only": ("NoSafetensors", "hf://a/b has no safetensors"),
}


@pytest.mark.parametrize(("reason", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_a_shape_that_cannot_be_read_is_the_reason_and_is_tried_again(
    reason: str, message: str
) -> None:
    cluster = ClusterOfOne()
    cluster.step()
    cluster.read_shape({"failure": {"reason": reason, "message": message, "fix": "mend it"}})
    outcome = cluster.settle()
    status = cluster.cr["status"]
    assert (status["phase"], status["reason"]) == ("Failed", reason)
    assert status["message"] == f"{message}. Fix: mend it"
    assert outcome.look_again_seconds is not None
    cluster.seconds += outcome.look_again_seconds
    cluster.settle()
    assert [job["metadata"]["name"][-2:] for job in cluster.kind("Job")] == ["-2"]
    cluster.read_shape()
    cluster.settle()
    assert cluster.cr["status"]["plan"]


def test_a_shape_job_without_an_answer_is_a_reason_too() -> None:
    cluster = ClusterOfOne()
    cluster.step()
    cluster.read_shape("Traceback: boom")
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "ConfigUnreadable"
    assert "boom" in cluster.cr["status"]["message"]


def test_what_does_not_fit_says_by_how_much_and_what_to_change() -> None:
    cluster = ClusterOfOne(
        cr=builders.model_deployment(accelerators=[{"profile": "cpu"}], resources={"memory": "2Gi"})
    )
    cluster.step()
    cluster.read_shape()
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "DoesNotFit"
    assert "too much" in cluster.cr["status"]["message"]
    assert "set spec.resources.memory to at least 4096Mi" in cluster.cr["status"]["message"]
    cluster.change(resources={"memory": "6Gi"})
    cluster.settle()
    assert cluster.cr["status"]["phase"] == "Pending"


def test_flags_that_berth_manages_are_refused_by_name() -> None:
    cluster = ClusterOfOne(cr=builders.model_deployment(runtime={"extraArgs": ["--port=1"]}))
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "InvalidSpec"
    assert "--port" in cluster.cr["status"]["message"]
    assert cluster.objects == {}


def test_an_engine_that_crashes_gives_its_typed_cause() -> None:
    cluster = planned()
    cause = json.dumps({"reason": "KVCacheTooSmall", "message": "no room", "fix": "shorten it"})
    cluster.serve(ready=False, containers=[builders.ended("engine", 1, cause, restarts=2)])
    outcome = cluster.settle()
    status = cluster.cr["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "KVCacheTooSmall")
    assert status["lastFailure"]["count"] == 2
    assert status["lastFailure"]["exitCode"] == 1
    assert outcome.look_again_seconds
    cluster.serve()
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "Serving"
    assert cluster.cr["status"]["lastFailure"]["reason"] == "KVCacheTooSmall"


def test_an_event_tells_each_change_of_the_reason_once() -> None:
    cluster = planned()
    cause = json.dumps({"reason": "OutOfMemory", "message": "no room", "fix": "less"})
    cluster.serve(ready=False, containers=[builders.ended("engine", 1, cause)])
    first, second = cluster.step(), cluster.step()
    assert [(e.type.value, e.reason) for e in first.events] == [("Warning", "OutOfMemory")]
    assert second.events == ()


def test_a_paused_model_is_left_alone() -> None:
    cluster = serving()
    cluster.change(paused=True, replicas=5)
    outcome = cluster.settle()
    assert (outcome.apply, outcome.delete) == ((), ())
    assert cluster.cr["status"]["reason"] == "Paused"
    cluster.change(paused=False)
    cluster.settle()
    assert cluster.kind("Deployment")[0]["spec"]["replicas"] == 5


@pytest.mark.parametrize("change", [{"paused": True}, {"scaling": {"mode": "Guess"}}])
def test_what_drains_takes_requests_again_when_nothing_more_is_done(change: dict) -> None:
    cluster = serving()
    cluster.change(replicas=0)
    cluster.step()
    assert not any(is_serving(pod.object) for pod in cluster.pods)
    cluster.change(replicas=1, **change)
    outcome = cluster.step()
    assert (outcome.apply, outcome.delete) == ((), ())
    (pod,) = cluster.pods
    assert is_serving(pod.object)
    assert names.ANNOTATION_DRAINING not in pod.object["metadata"]["annotations"]
    assert cluster.step().patch == ()


def test_a_paused_model_that_nobody_serves_is_not_said_to_serve() -> None:
    cluster = serving()
    cluster.pods = ()
    cluster.change(paused=True)
    cluster.step()
    assert (cluster.cr["status"]["phase"], cluster.cr["status"]["readyReplicas"]) == ("Pending", 0)


def test_a_deleted_model_is_left_to_kubernetes() -> None:
    cluster = serving()
    cluster.cr["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    outcome = cluster.step()
    assert (outcome.apply, outcome.delete, outcome.status) == ((), (), None)


def test_a_lost_engine_key_is_written_again() -> None:
    cluster = serving()
    cluster.secrets.clear()
    warning = {
        "reason": "FailedMount",
        "message": 'secret "smollm2-engine-key" not found',
        "involvedObject": {"name": "smollm2-y"},
    }
    cluster.known = {"warnings": (warning,)}
    cluster.step()
    assert not cluster.secrets, "an old Event of a pod that is gone proves nothing"
    cluster.serve(ready=False, name="smollm2-y")
    cluster.step()
    assert list(cluster.secrets) == ["smollm2-engine-key"]


def kinds_applied(observed: Observed) -> set[str]:
    return {one["kind"] for one in decide(observed, builders.context()).apply}


def test_before_the_service_tells_that_the_engine_key_was_written_it_is_remembered() -> None:
    """By the operator that wrote it, and if it was not refused."""
    cluster = serving()
    remembered = cluster.step().remember
    standing = cluster.observe()
    without = replace(standing, children=replace(standing.children, services=()))
    assert "Secret" in kinds_applied(without)
    assert kinds_applied(replace(without, remembered=remembered)).isdisjoint({"Secret"})
    refusal = Refusal("Secret", "smollm2-engine-key", "exceeded quota")
    assert "Secret" in kinds_applied(replace(without, remembered=remembered, refusals=(refusal,)))
    other = replace(remembered, key="of another master key")
    assert "Secret" in kinds_applied(replace(without, remembered=other))


def test_a_volume_that_cannot_be_mounted_is_the_reason() -> None:
    cluster = planned()
    warning = {
        "reason": "FailedMount",
        "message": "MountVolume.SetUp failed for volume models",
        "involvedObject": {"name": "smollm2-x"},
    }
    cluster.known = {"warnings": (warning,)}
    cluster.serve(ready=False)
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "Unschedulable"
    assert "MountVolume.SetUp failed" in cluster.cr["status"]["message"]


def test_an_evicted_pod_is_past_once_its_replacement_serves() -> None:
    cluster = serving()
    evicted = builders.engine_pod(
        cluster.cr["status"]["updateRevision"],
        name="gone",
        phase="Failed",
        reason="Evicted",
        message="low on resource: ephemeral-storage",
    )
    cluster.pods = (*cluster.pods, Pod(evicted))
    outcome = cluster.settle()
    assert cluster.cr["status"]["reason"] == "Serving"
    assert cluster.cr["status"]["replicas"] == 1
    assert outcome.look_again_seconds != 1.0


ILL = Node(
    "node-1", {}, {}, conditions=({"type": "GpuMemWatch", "status": "True", "message": "DBE"},)
)


def test_the_fault_of_its_node_is_told_of_a_pod_that_serves_and_of_one_that_does_not() -> None:
    cluster = serving()
    cluster.known["nodes"] = (ILL,)
    cluster.settle()
    status = cluster.cr["status"]
    assert (status["phase"], status["reason"]) == ("Serving", "DeviceUnhealthy")
    assert "condition GpuMemWatch is True: DBE; pod smollm2-x serves on" in status["message"]
    assert status["lastFailure"]["node"] == "node-1"
    cluster.serve(ready=False)
    cluster.settle()
    status = cluster.cr["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "DeviceUnhealthy")
    assert "pod smollm2-x does not serve" in status["message"]
    cluster.known["nodes"] = (Node("node-1", {}, {}),)
    cluster.serve()
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "Serving"


def test_why_a_kubelet_refused_a_pod_is_told_until_its_replacement_serves() -> None:
    cluster = serving()
    revision = cluster.cr["status"]["updateRevision"]
    said = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no device"}
    refused = builders.engine_pod(revision, name="refused", **said)
    refused["metadata"]["creationTimestamp"] = timestamp(builders.NOW)
    replacement = builders.engine_pod(revision, name="replacement")
    cluster.pods = (Pod(refused), Pod(replacement))
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "DeviceUnhealthy"
    assert "UnexpectedAdmissionError: no device" in cluster.cr["status"]["message"]
    cluster.pods = (Pod(refused), Pod(builders.engine_pod(revision, name="new", ready=True)))
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "Serving"


def test_a_model_that_has_never_served_has_no_current_revision() -> None:
    cluster = planned()
    cluster.settle()
    assert "currentRevision" not in cluster.cr["status"]
    cluster.serve()
    cluster.settle()
    served = cluster.cr["status"]["updateRevision"]
    assert cluster.cr["status"]["currentRevision"] == served
    cluster.serve(ready=False)
    cluster.settle()
    assert cluster.cr["status"]["currentRevision"] == served


def test_a_late_answer_turns_no_phase_back() -> None:
    cluster = planned()
    engine = {"name": "engine", "image": "i", "ready": False, "state": {"running": {}}}
    cluster.serve(ready=False, report=PodStatus(phase=Phase.LOADING), containers=[engine])
    cluster.settle()
    cluster.serve(ready=False, containers=[engine])
    cluster.settle()
    assert cluster.cr["status"]["phase"] == "Loading"
    cached = next(c for c in cluster.cr["status"]["conditions"] if c["type"] == "ModelCached")
    assert cached["status"] == "True"


def test_a_fetch_that_answers_late_or_has_ended_falls_back_to_no_pending() -> None:
    cluster = planned()
    fetching = {"name": "fetch", "image": "i", "ready": False, "state": {"running": {}}}
    report = PodStatus(phase=Phase.FETCHING, percent=43)
    cluster.serve(ready=False, report=report, init=[fetching])
    cluster.settle()
    for init in ([fetching], [builders.ended("fetch", 0)]):
        engine = builders.waiting("engine", "PodInitializing")
        cluster.serve(ready=False, init=init, containers=[engine])
        cluster.settle()
        status = cluster.cr["status"]
        assert (status["phase"], status["progress"]) == ("Fetching", "43%")


def test_what_lacks_an_accelerator_is_judged_again_when_nodes_may_have_come() -> None:
    spec = {"accelerators": [{"profile": "gpu"}]}
    profile = {"name": "gpu", "engineProfile": "vllm", "resource": "nvidia.com/gpu"}
    context = builders.context(acceleratorProfiles=[profile])
    cluster = ClusterOfOne(cr=builders.model_deployment(**spec), context=context)
    outcome = cluster.settle()
    assert cluster.cr["status"]["reason"] == "InsufficientGPU"
    assert outcome.look_again_seconds == 10.0


def test_a_roll_out_that_waits_does_not_stop_scaling() -> None:
    cluster = serving()
    cluster.change(runtime={"maxModelLen": 4096})
    cluster.settle()
    cluster.change(replicas=4)
    cluster.settle()
    assert [d["spec"]["replicas"] for d in cluster.kind("Deployment")] == [4, 1]


def test_a_half_loaded_pod_does_not_spoil_the_measures() -> None:
    cluster = planned()
    whole = EngineStatus(
        name="smollm2", phase=Phase.SERVING, measured=Measured(kv_cache_tokens=67_072)
    )
    cluster.serve(report=PodStatus(phase=Phase.SERVING, engines=[whole]))
    cluster.settle()
    half = EngineStatus(name="smollm2", phase=Phase.LOADING, measured=Measured(weights_bytes=9))
    cluster.serve(report=PodStatus(phase=Phase.LOADING, engines=[half]))
    cluster.settle()
    assert cluster.cr["status"]["plan"]["measured"] == {"kvCacheTokens": 67_072}


def test_a_pod_that_starts_anew_is_measured_anew() -> None:
    cluster = planned()
    whole = EngineStatus(
        name="smollm2", phase=Phase.SERVING, measured=Measured(kv_cache_tokens=67_072)
    )
    cluster.serve(report=PodStatus(phase=Phase.SERVING, engines=[whole]))
    cluster.settle()
    cluster.serve(ready=False)
    cluster.settle()
    assert "measured" not in cluster.cr["status"]["plan"]
    cluster.serve()
    assert cluster.settle().poll


def test_an_engine_profile_of_another_device_is_refused() -> None:
    cluster = ClusterOfOne(
        cr=builders.model_deployment(
            runtime={"engineProfile": "vllm"}, accelerators=[{"profile": "cpu"}]
        )
    )
    cluster.settle()
    assert "engine profile vllm is for cuda" in cluster.cr["status"]["message"]


@pytest.mark.parametrize("change", [{"hidden_size": 4}, {"head_dim": -1}])
def test_a_hostile_configuration_is_a_reason_and_no_crash(change: dict) -> None:
    cluster = ClusterOfOne()
    cluster.step()
    cluster.read_shape(builders.SMOLLM2_REPORT | {"config": dict(builders.SMOLLM2_CONFIG) | change})
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "ConfigUnreadable"


def test_every_child_is_owned_by_its_model() -> None:
    cluster = serving()
    for child in [*cluster.objects.values(), *cluster.secrets.values()]:
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["uid"] == cluster.cr["metadata"]["uid"]
        assert owner["controller"] is True


CHANGES = st.lists(
    st.one_of(
        st.builds(lambda n: {"replicas": n}, st.integers(0, 5)),
        st.builds(lambda n: {"runtime": {"maxModelLen": n}}, st.integers(128, 8192)),
        st.builds(lambda s: {"rollout": {"strategy": s}}, st.sampled_from(["Recreate"])),
        st.just({"runtime": {"maxModelLen": 99_999}}),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(CHANGES)
def test_whatever_is_changed_it_comes_to_rest_with_one_revision_served(changes: list[dict]) -> None:
    cluster = serving()
    for change in changes:
        cluster.change(**change)
        cluster.settle()
    cluster.change(replicas=1, runtime={"maxModelLen": 1024})
    for _ in range(4):
        cluster.settle()
        wanted = cluster.cr["status"]["updateRevision"]
        cluster.pods = ()
        if any(
            d["metadata"]["labels"][names.LABEL_REVISION] == wanted
            for d in cluster.kind("Deployment")
        ):
            cluster.serve(wanted)
    assert len(cluster.kind("Deployment")) == 1
    assert cluster.cr["status"]["currentRevision"] == wanted
    assert len(cluster.kind("ControllerRevision")) <= 6


OLD_ENGINE = {"image": "vllm/vllm-openai-cpu:v0.14.0"}


def test_an_engine_with_known_holes_gets_no_pod() -> None:
    cluster = ClusterOfOne(cr=builders.model_deployment(runtime=OLD_ENGINE))
    cluster.settle()
    assert cluster.objects == {}
    status = cluster.cr["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "EngineVulnerable")
    assert "CVE-2026-22778" in status["message"]


def test_a_model_that_serves_goes_on_when_such_an_engine_is_asked_for() -> None:
    cluster = serving()
    before = set(cluster.objects)
    cluster.change(runtime=OLD_ENGINE)
    cluster.settle()
    assert set(cluster.objects) == before
    assert cluster.cr["status"]["reason"] == "EngineVulnerable"
    assert cluster.cr["status"]["readyReplicas"] == 1
