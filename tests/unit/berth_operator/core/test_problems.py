"""Each way a pod fails has its own reason and fix."""

import builders
import pytest

from berth_operator.core import problems
from berth_operator.core.observed import Pod, Refusal

NO_GPU = {
    "type": "PodScheduled",
    "status": "False",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}
NO_ROOM = {
    "type": "PodScheduled",
    "status": "False",
    "message": "0/1 nodes are available: 1 Insufficient memory.",
}

CASES = {
    "no GPU is free": ({"conditions": [NO_GPU]}, "Scheduled", "InsufficientGPU"),
    "no node has room": ({"conditions": [NO_ROOM]}, "Scheduled", "Unschedulable"),
    "the engine's image cannot be pulled": (
        {"containers": [builders.waiting("engine", "ImagePullBackOff", "not found")]},
        "RuntimeHealthy",
        "ImagePullFailed",
    ),
    "the model's image cannot be pulled": (
        {"init": [builders.waiting("copy", "ErrImagePull", "not found")]},
        "ModelCached",
        "ImagePullFailed",
    ),
    "the token's Secret is missing": (
        {"init": [builders.waiting("fetch", "CreateContainerConfigError", 'secret "hf"')]},
        "ModelCached",
        "AuthFailed",
    ),
    "the disk is full while copying": (
        {"init": [builders.ended("copy", 1, "write error: No space left on device")]},
        "ModelCached",
        "NoSpace",
    ),
    "the model's image holds no model": (
        {"init": [builders.ended("copy", 2, "no config.json under /models")]},
        "ModelCached",
        "NotFound",
    ),
    "the kubelet evicted it for its disk": (
        {"phase": "Failed", "reason": "Evicted", "message": "low on resource: ephemeral-storage"},
        "ModelCached",
        "NoSpace",
    ),
    "the device was gone": (
        {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no devices"},
        "Scheduled",
        "DeviceUnhealthy",
    ),
    "another pod took the device first": (
        {"phase": "Failed", "reason": "OutOfnvidia.com/gpu", "message": "requested: 1"},
        "Scheduled",
        "InsufficientGPU",
    ),
    "the node was shut down": (
        {"phase": "Failed", "reason": "NodeShutdown", "message": "imminent"},
        "Scheduled",
        "NodeUnhealthy",
    ),
    "the kubelet evicted it for its memory": (
        {"phase": "Failed", "reason": "Evicted", "message": "low on resource: memory"},
        "Scheduled",
        "Unschedulable",
    ),
    "the host's memory ran out": (
        {"containers": [builders.ended("engine", 137, reason="OOMKilled")]},
        "RuntimeHealthy",
        "OutOfMemory",
    ),
    "it crashed without a word": (
        {"containers": [builders.ended("engine", 1, "Traceback")]},
        "RuntimeHealthy",
        "CrashLoop",
    ),
}


@pytest.mark.parametrize(("pod", "condition", "reason"), CASES.values(), ids=CASES.keys())
def test_a_cause_has_its_reason_and_its_fix(pod: dict, condition: str, reason: str) -> None:
    found = problems.of_pod(Pod(builders.engine_pod("r", **pod)))
    assert found is not None
    assert (found.condition, found.failure.reason) == (condition, reason)
    assert found.failure.fix


def test_a_missing_secret_is_named_whatever_the_kubelet_says() -> None:
    waiting = builders.waiting("fetch", "CreateContainerConfigError", "failed to sync secret cache")
    pod = builders.engine_pod("r", init=[waiting])
    reference = {"secretKeyRef": {"name": "hf", "key": "token"}}
    pod["spec"]["initContainers"] = [
        {"name": "fetch", "env": [{"name": "T", "valueFrom": reference}]}
    ]
    found = problems.of_pod(Pod(pod))
    assert found is not None
    assert found.failure.message == "Secret hf, key token: failed to sync secret cache"


def test_a_problem_names_the_pod_and_its_node() -> None:
    found = problems.of_pod(Pod(builders.engine_pod("r", phase="Failed", reason="NodeLost")))
    assert found is not None
    assert (found.pod, found.node) == ("smollm2-x", "node-1")
    assert found.failure.message.startswith("node node-1: NodeLost")


def test_a_pod_without_a_problem_has_none() -> None:
    assert problems.of_pod(Pod(builders.engine_pod("r", ready=True))) is None


def test_a_container_that_came_back_is_no_problem() -> None:
    back = {
        "name": "engine",
        "ready": True,
        "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1}},
    }
    assert problems.of_pod(Pod(builders.engine_pod("r", containers=[back]))) is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('pods "x" is forbidden: exceeded quota: gpus', "QuotaExceeded"),
        ('violates PodSecurity "restricted:latest"', "PodSecurityDenied"),
        ("Service a/x exists and belongs to something else", "NameConflict"),
        ("admission webhook said no", "Refused"),
    ],
)
def test_a_refusal_of_the_api_server_is_told_verbatim(message: str, reason: str) -> None:
    found = problems.of_refusal(Refusal("Service", "x", message))
    assert found.failure.reason == reason
    assert message in found.failure.message


def test_long_foreign_messages_are_cut() -> None:
    pod = builders.engine_pod("r", containers=[builders.ended("engine", 1, "x" * 5000)])
    found = problems.of_pod(Pod(pod))
    assert found is not None
    assert len(found.failure.message) < 1200
