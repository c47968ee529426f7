from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from berth_operator.core import pace

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STARTING: dict[str, Any] = {
    "phase": "Pending",
    "reason": "Activating",
    "observedGeneration": 1,
    "replicas": 0,
    "conditions": [
        {"type": "Ready", "status": "False"},
        {"type": "Scheduled", "status": "Unknown"},
    ],
}


def waits(wanted: dict[str, Any], seconds_ago: float | None = 0.25) -> float:
    told_at = None if seconds_ago is None else NOW - timedelta(seconds=seconds_ago)
    return pace.seconds_to_wait(STARTING, STARTING | wanted, told_at, NOW)


def test_progress_waits_for_the_rest_of_the_second() -> None:
    assert waits({"replicas": 1}) == 0.75
    placed = [{"type": "Ready", "status": "False"}, {"type": "Scheduled", "status": "True"}]
    assert waits({"conditions": placed}) == 0.75


def test_progress_is_told_once_the_second_is_over() -> None:
    assert waits({"replicas": 1}, seconds_ago=1.0) == 0
    assert waits({"replicas": 1}, seconds_ago=3600) == 0


def test_after_a_restart_nobody_knows_when_it_was_told_so_it_is_told() -> None:
    assert waits({"replicas": 1}, seconds_ago=None) == 0


@pytest.mark.parametrize(
    "wanted",
    [
        {"phase": "Serving"},
        {"reason": "DoesNotFit"},
        {"observedGeneration": 2},
        {"updateRevision": "b"},
        {"currentRevision": "a"},
        {"blockedRevision": "b"},
        {"conditions": [{"type": "Ready", "status": "True"}]},
    ],
)
def test_what_somebody_waits_for_never_waits(wanted: dict[str, Any]) -> None:
    assert waits(wanted, seconds_ago=0) == 0


def test_a_clock_that_was_set_back_holds_nothing_for_long() -> None:
    assert waits({"replicas": 1}, seconds_ago=-3600) == pace.PROGRESS_SECONDS
