"""Pods that ended for good do not pile up."""

from typing import Any

import builders

from berth_api import names
from berth_operator.core.observed import Pod
from berth_operator.core.rollout.reaping import KEPT, MOST_AT_ONCE, reaped


def failed(number: int, **status: Any) -> dict[str, Any]:
    given = {"phase": "Failed", "reason": "UnexpectedAdmissionError"} | status
    pod = builders.engine_pod("r", name=f"p{number:04}", **given)
    pod["metadata"]["creationTimestamp"] = f"2026-01-02T03:{number // 60:02}:{number % 60:02}Z"
    return pod


def gone(*pods: dict[str, Any]) -> list[str]:
    observed = builders.observed(pods=tuple(map(Pod, pods)))
    return sorted(one["metadata"]["name"] for one in reaped(observed))


def test_the_newest_few_are_kept_to_be_read_and_the_others_go() -> None:
    pods = [failed(number) for number in range(KEPT + 2)]
    assert gone(*reversed(pods)) == ["p0000", "p0001"]


def test_few_are_left_alone() -> None:
    assert gone(*(failed(number) for number in range(KEPT))) == []


def test_thousands_go_in_several_looks() -> None:
    assert len(gone(*(failed(number) for number in range(1000)))) == MOST_AT_ONCE


def test_pods_that_run_or_go_or_are_a_jobs_are_not_reaped() -> None:
    kept = [failed(100 + number) for number in range(KEPT)]
    running = failed(1, phase="Running")
    ending = failed(2)
    ending["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    of_a_job = failed(3)
    of_a_job["metadata"]["labels"][names.LABEL_ROLE] = names.ROLE_SHAPE
    assert gone(*kept, running, ending, of_a_job) == []
