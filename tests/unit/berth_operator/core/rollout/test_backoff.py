"""When pods fail in a loop, how long the pause is, and how it is remembered."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import builders
import pytest

from berth_api.shape import Failure
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.observed import Pod
from berth_operator.core.rollout import backoff
from berth_operator.core.rollout.backoff import FAILURES, WINDOW, Pause

NOW = builders.NOW
MINUTE = timedelta(minutes=1)


def crashed(restarts: int, container: str = "engine", name: str = "a") -> Pod:
    cause = Failure(reason="CrashLoop", message="words", fix="a fix").model_dump_json()
    ended = builders.ended(container, 1, cause, restarts=restarts)
    return Pod(builders.engine_pod("r", name=name, containers=[ended]))


def refused(name: str, ago: timedelta = MINUTE, reason: str = "UnexpectedAdmissionError") -> Pod:
    pod = builders.engine_pod("r", name=name, phase="Failed", reason=reason, message="no device")
    pod["metadata"]["creationTimestamp"] = timestamp(NOW - ago)
    return Pod(pod)


def judged(*pods: Pod, stored: Pause | None = None, **known: bool) -> Pause | None:
    given: Any = {"proven": False, "whole": False} | known
    return backoff.judged(stored, pods, NOW, **given)


def minutes(pause: Pause | None) -> float:
    assert pause is not None
    return pause.seconds_left(NOW) / 60


def after(tries: int, ended: timedelta = MINUTE) -> Pause:
    """A pause that ended a while ago."""
    first = judged(crashed(FAILURES))
    assert first is not None
    return Pause(first.problem, tries, timestamp(NOW - ended))


def test_an_engine_that_has_never_started_gets_a_pause_after_so_many_failures() -> None:
    assert judged(crashed(FAILURES - 1)) is None
    pause = judged(crashed(FAILURES))
    assert minutes(pause) == 10
    assert pause is not None
    assert (pause.tries, pause.problem.failure.reason) == (1, "CrashLoop")


@pytest.mark.parametrize(("tries", "lasts"), [(1, 20), (2, 40), (3, 60), (9, 60), (10**6, 60)])
def test_each_pause_is_twice_the_one_before_up_to_an_hour(tries: int, lasts: int) -> None:
    pause = judged(crashed(FAILURES), stored=after(tries))
    assert minutes(pause) == lasts
    assert pause is not None
    assert pause.tries == tries + 1


def test_an_engine_that_has_served_is_the_kubelets_to_restart() -> None:
    assert judged(crashed(100), proven=True) is None


def test_one_failure_of_each_of_many_pods_is_a_hiccup() -> None:
    assert judged(*(crashed(1, name=f"p{number}") for number in range(50))) is None


def test_a_fetcher_that_fails_holds_no_plan_to_be_bad() -> None:
    assert judged(crashed(100, container="fetch")) is None


def test_pods_that_a_kubelet_refuses_get_a_pause_also_where_the_plan_is_proven() -> None:
    pods = [refused(f"p{number}") for number in range(FAILURES)]
    assert judged(*pods[1:], proven=True) is None
    pause = judged(*pods, proven=True)
    assert minutes(pause) == 0.5
    assert pause is not None
    assert pause.problem.failure.reason == "DeviceUnhealthy"


def test_pods_that_ran_before_they_were_evicted_are_no_loop() -> None:
    ran = [refused(f"p{number}", reason="Evicted") for number in range(FAILURES)]
    assert judged(*ran) is not None
    for pod in ran:
        pod.object["status"]["containerStatuses"] = [builders.ended("engine", 137)]  # type: ignore[index]
    assert judged(*ran) is None


def test_failures_of_several_kinds_are_not_a_loop() -> None:
    pods = [refused(f"p{number}", reason=f"OutOf{number % 2}/x") for number in range(4)]
    others = [refused(f"q{number}") for number in range(FAILURES - 1)]
    assert judged(*pods, *others) is None


def test_pods_that_were_refused_long_ago_or_before_the_last_pause_tell_nothing() -> None:
    old = [refused(f"p{number}", ago=WINDOW + MINUTE) for number in range(FAILURES)]
    assert judged(*old) is None
    before = [refused(f"p{number}", ago=2 * MINUTE) for number in range(FAILURES)]
    assert judged(*before, stored=after(1)) == after(1)


def test_pods_that_were_refused_before_one_that_serves_tell_nothing() -> None:
    serves = Pod(builders.engine_pod("r", ready=True))
    serves.object["metadata"]["creationTimestamp"] = timestamp(NOW)  # type: ignore[index]
    assert judged(*(refused(f"p{number}") for number in range(FAILURES)), serves) is None


def test_a_pod_on_its_way_out_tells_nothing() -> None:
    pod = crashed(FAILURES)
    pod.object["metadata"]["deletionTimestamp"] = timestamp(NOW)  # type: ignore[index]
    assert judged(pod) is None


def test_a_pause_lasts_whatever_the_pods_do_meanwhile() -> None:
    pause = judged(crashed(FAILURES))
    assert judged(crashed(FAILURES), stored=pause) == pause
    assert judged(stored=pause, whole=True) == pause


def test_the_last_pause_is_remembered_until_all_replicas_serve() -> None:
    last = after(3)
    assert judged(stored=last) == last
    assert judged(stored=last, whole=True) is None


def test_a_clock_that_was_put_back_ends_a_pause() -> None:
    pause = judged(crashed(FAILURES))
    assert pause is not None
    assert not pause.lasts(NOW - timedelta(days=1))


def test_what_is_written_on_the_deployment_is_read_back_whole() -> None:
    pause = judged(crashed(FAILURES))
    assert backoff.read(backoff.marks(pause)) == pause
    assert backoff.marks(None) == {}


@pytest.mark.parametrize("text", ["", "by hand", "{}", "[]"])
def test_what_someone_wrote_by_hand_is_no_pause(text: str) -> None:
    assert backoff.read({backoff.ANNOTATION_BACKOFF: text}) is None


def test_a_count_that_no_pause_has_is_not_believed() -> None:
    by_hand = backoff.marks(replace(after(1), tries=0))
    assert backoff.read(by_hand) is None


def test_it_is_told_with_when_it_is_tried_again() -> None:
    pause = judged(crashed(FAILURES))
    assert pause is not None
    assert pause.message == "words; it is tried again at 2026-01-02T03:14:05Z"
