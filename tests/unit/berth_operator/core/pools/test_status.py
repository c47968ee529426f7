from datetime import timedelta
from typing import Any

import builders
import pooled
import pytest

from berth_api.pool import PoolEngine, PoolStatus
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.pools import status
from berth_operator.core.pools.decide import decide
from berth_operator.core.pools.observed import PoolObserved, Unreadable

CONTEXT = builders.context()


def told(observed: PoolObserved) -> PoolStatus:
    return PoolStatus.model_validate(decide(observed, CONTEXT).status)


@pytest.mark.parametrize(
    ("pods", "phase", "ready"),
    [
        ((pooled.pod(),), "Ready", "True"),
        ((pooled.pod(ready=False),), "Pending", "False"),
        ((), "Pending", "False"),
    ],
)
def test_a_pool_is_ready_with_its_pods(pods: tuple[Any, ...], phase: str, ready: str) -> None:
    found = told(pooled.observed(pods=pods))
    (condition,) = found.conditions
    assert (found.phase, condition.status, found.ready_replicas) == (
        phase,
        ready,
        int(ready == "True"),
    )


def test_one_of_two_pods_is_a_pool_that_is_degraded() -> None:
    found = told(pooled.observed(spec={"replicas": 2}))
    assert (found.phase, found.message) == ("Degraded", "1 of 2 pods take models")


def test_a_condition_keeps_the_time_of_its_last_turn() -> None:
    first = told(pooled.observed())
    later = builders.NOW + timedelta(hours=1)
    same = told(pooled.observed(status=first, now=later))
    turned = told(pooled.observed(status=first, now=later, pods=()))
    assert same.conditions == first.conditions
    assert turned.conditions[0].last_transition_time == timestamp(later)


def test_a_pool_of_no_pods_is_told_so() -> None:
    found = told(pooled.observed(spec={"replicas": 0}, pods=()))
    assert (found.phase, found.reason) == ("Ready", "ScaledToZero")


def test_a_pool_that_cannot_be_read_says_why_and_what_was_told_of_its_engines_stands() -> None:
    before = PoolStatus(
        ready_replicas=1,
        sequence=7,
        engines=[PoolEngine(id="e", state="Serving", memory_bytes=1, pod_uid=pooled.POD_UID)],
    )
    cr = pooled.pool_cr() | {"status": before.wire()}
    found = status.of_unreadable(Unreadable(cr, builders.NOW, "spec.cache: Field required"))
    assert (found.phase, found.reason) == ("Refused", "InvalidSpec")
    assert (found.sequence, found.engines) == (7, before.engines)
    (condition,) = found.conditions
    assert condition.status == "True"
    assert "spec.cache" in condition.message
    again = Unreadable(cr | {"status": found.wire()}, builders.NOW + timedelta(hours=1), "same")
    assert status.of_unreadable(again).conditions[0].last_transition_time == timestamp(builders.NOW)
