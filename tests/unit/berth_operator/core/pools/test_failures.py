from datetime import timedelta

import builders
import pooled
from hypothesis import given
from hypothesis import strategies as st

from berth_api.pool import PoolEngine, PoolStatus
from berth_api.server import Measured, Phase
from berth_api.shape import Failure
from berth_operator.core.kubernetes import moment, timestamp
from berth_operator.core.pools.failures import FIRST_PAUSE, LONGEST_PAUSE, History, histories

OOM = Failure(reason="OutOfMemory", message="no memory", fix="a shorter context")


def told(**fields: object) -> PoolStatus:
    return PoolStatus(engines=[PoolEngine(id="e", state="Loading", memory_bytes=1, **fields)])


def history(status: PoolStatus, *reports: object) -> History:
    return histories(pooled.observed(status=status, pods=(pooled.pod(*reports),)))["e"]


def test_a_first_failure_is_tried_again_after_a_pause() -> None:
    found = history(told(), pooled.engine_report("e", Phase.FAILED, failure=OOM))
    assert (found.attempt, found.failure) == (1, OOM)
    assert found.blocked_until == builders.NOW + FIRST_PAUSE


def test_the_same_failure_is_counted_once() -> None:
    until = timestamp(builders.NOW)
    before = told(attempt=1, blocked_until=until, failure_reason="OutOfMemory")
    found = history(before, pooled.engine_report("e", Phase.FAILED, failure=OOM, attempt=0))
    assert (found.attempt, found.blocked_until) == (1, moment(until))


@given(st.integers(0, 40))
def test_each_pause_is_twice_the_one_before_up_to_a_longest(attempt: int) -> None:
    report = pooled.engine_report("e", Phase.FAILED, failure=OOM, attempt=attempt)
    found = history(told(attempt=attempt), report)
    assert found.attempt == attempt + 1
    assert found.blocked_until is not None
    pause = found.blocked_until - builders.NOW
    assert pause == min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt, 10))


def test_one_that_serves_has_no_failures_any_more() -> None:
    until = timestamp(builders.NOW + timedelta(minutes=5))
    before = told(attempt=3, blocked_until=until, failure_reason="OutOfMemory")
    found = history(before, pooled.engine_report("e"))
    assert found == History(load_seconds=30)


def test_measures_outlive_a_report_without_any() -> None:
    measured = Measured(weights_bytes=7)
    first = history(told(), pooled.engine_report("e", measured=measured))
    assert first.measured is not None
    assert first.measured.weights_bytes == 7
    assert history(told(measured=first.measured), pooled.engine_report("e")) == first


def test_a_failure_without_words_has_some_all_the_same() -> None:
    found = history(told(), pooled.engine_report("e", Phase.FAILED))
    assert found.failure is not None
    assert found.failure.message
