from datetime import timedelta

import builders
import pooled
import pytest

from berth_api.pool import PoolEngine, PoolStatus
from berth_api.server import Phase
from berth_api.shape import Failure
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.observed import Pod
from berth_operator.core.pools.residents import residents
from berth_operator.core.residency.pool import Resident

SINCE = builders.NOW - timedelta(minutes=5)
SHARE = 30 * pooled.GIB


def ordered(state: str = "Loading") -> PoolStatus:
    return PoolStatus(
        engines=[
            PoolEngine(
                id="e",
                state=state,
                pod_uid=pooled.POD_UID,
                cards=[0],
                memory_bytes=SHARE,
                since=timestamp(SINCE),
            )
        ]
    )


def resident(status: PoolStatus, pod: Pod) -> Resident:
    (found,) = residents(pooled.observed(status=status, pods=(pod,)))
    return found


def told(phase: Phase, **fields: object) -> Pod:
    return pooled.pod(pooled.engine_report("e", phase, **fields))


@pytest.mark.parametrize(
    ("phase", "state", "withheld"),
    [
        (Phase.PENDING, "Loading", 0),
        (Phase.STARTING, "Loading", SHARE),
        (Phase.WARMING, "Loading", SHARE),
        (Phase.SERVING, "Serving", SHARE),
        (Phase.DRAINING, "Loading", SHARE),  # it was told to come back
        (Phase.FAILED, "Failed", 0),
    ],
)
def test_what_was_ordered_is_as_its_pod_says(phase: Phase, state: str, withheld: int) -> None:
    found = resident(ordered(), told(phase))
    assert (found.state, found.withheld) == (state, withheld)


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.SERVING, Phase.DRAINING])
def test_what_is_ordered_no_more_drains_whatever_its_pod_says(phase: Phase) -> None:
    for status in (PoolStatus(), ordered("Draining")):
        assert resident(status, told(phase)).state == "Draining"


def test_memory_that_a_failed_one_has_not_given_back_is_withheld() -> None:
    kept = Failure(reason="MemoryNotFreed", message="", fix="")
    assert resident(ordered(), told(Phase.FAILED, failure=kept)).withheld == SHARE


def test_what_a_pod_has_not_heard_of_loads_and_has_nothing_yet() -> None:
    found = resident(ordered(), pooled.pod())
    assert (found.state, found.withheld) == ("Loading", 0)
    assert found.since == SINCE.timestamp()


@pytest.mark.parametrize("state", ["Loading", "Serving"])
def test_a_pod_that_does_not_answer_has_what_it_had(state: str) -> None:
    found = resident(ordered(state), Pod(pooled.pod_object()))
    assert (found.state, found.withheld) == (state, SHARE)


def test_one_that_serves_does_so_since_its_first_token_by_its_pods_clock() -> None:
    found = resident(ordered(), told(Phase.SERVING))
    started = builders.NOW - timedelta(hours=1)
    assert found.since == (started + timedelta(seconds=40)).timestamp()


def test_what_is_in_a_pod_that_goes_counts_for_nothing() -> None:
    going = pooled.pod(pooled.engine_report("e"), deletionTimestamp="2026-01-02T03:04:05Z")
    assert residents(pooled.observed(status=ordered("Serving"), pods=(going,))) == ()
