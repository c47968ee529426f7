"""When an update is given up, and how that is remembered."""

import builders
import pytest

from berth_api.shape import Failure
from berth_operator.core.observed import Pod
from berth_operator.core.problems import Problem
from berth_operator.core.rollout import blocked
from berth_operator.core.rollout.blocked import ANNOTATION_BLOCKED, Blocked


def ended(restarts: int = 0, reason: str = "CrashLoop", name: str = "a") -> Pod:
    cause = Failure(reason=reason, message="words", fix="a fix").model_dump_json()
    container = builders.ended("engine", 1, cause, restarts=restarts)
    return Pod(builders.engine_pod("r1", name=name, containers=[container]))


def test_one_end_may_be_a_hiccup_and_two_are_a_failure() -> None:
    assert blocked.failed([ended()]) is None
    assert blocked.failed([ended(restarts=1)]) is None
    found = blocked.failed([ended(restarts=2)])
    assert found is not None
    assert found.failure.reason == "CrashLoop"


def test_two_pods_that_ended_once_are_two_failures() -> None:
    assert blocked.failed([ended(name="a"), ended(name="b")]) is not None


@pytest.mark.parametrize("reason", ["UnsupportedArchitecture", "NotFound", "LoadTimeout"])
def test_what_does_not_pass_is_not_tried_twice(reason: str) -> None:
    assert blocked.failed([ended(reason=reason)]) is not None


def test_an_image_that_cannot_be_pulled_is_a_failure() -> None:
    waits = builders.waiting("engine", "ImagePullBackOff", "no such tag")
    assert blocked.failed([Pod(builders.engine_pod("r1", containers=[waits]))]) is not None


def test_a_pod_without_a_place_has_not_failed() -> None:
    unplaced = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "1 Insufficient nvidia.com/gpu",
    }
    pods = [Pod(builders.engine_pod("r1", name=name, conditions=[unplaced])) for name in "ab"]
    assert blocked.failed(pods) is None


def deployment(text: str) -> dict[str, object]:
    return {"metadata": {"annotations": {ANNOTATION_BLOCKED: text}}}


def test_what_is_written_down_is_read_back_whole() -> None:
    failure = Failure(reason="OutOfMemory", message='a "message"', fix="a fix")
    problem = Problem("RuntimeHealthy", failure, pod="smol-1", exit_code=137, count=2)
    assert blocked.read(deployment(blocked.encoded(problem)), "r1") == Blocked("r1", problem)


@pytest.mark.parametrize("text", ["by hand", "", "{}", '{"condition": 1}', "[]"])
def test_what_someone_wrote_by_hand_blocks_too(text: str) -> None:
    found = blocked.read(deployment(text), "r1")
    assert found is not None
    assert text in found.message


def test_without_the_mark_nothing_is_blocked() -> None:
    assert blocked.read({"metadata": {}}, "r1") is None
    assert blocked.read(None, "r1") is None
