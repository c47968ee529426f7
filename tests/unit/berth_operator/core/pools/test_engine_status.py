from dataclasses import replace
from datetime import timedelta
from typing import Any

import builders
import pooled

from berth_api.pool import PoolEngine, PoolStatus
from berth_api.server import Phase
from berth_operator.core.kubernetes import moment
from berth_operator.core.observed import Load
from berth_operator.core.pools.decide import decide
from berth_operator.core.pools.observed import PoolObserved

CONTEXT = builders.context()
MEMBER = pooled.member()
(ID,) = (one.id for one in MEMBER.revisions)


def idle_for(seconds: float, **known: Any) -> PoolObserved:
    """A model whose engine serves, and that nobody has asked for since."""
    member = pooled.member(load=Load(complete=True, idle_seconds=seconds))
    before = PoolEngine(id=ID, state="Serving", pod_uid=pooled.POD_UID, memory_bytes=1, port=8100)
    given = {"status": PoolStatus(engines=[before]), "pods": (pooled.pod(report()),)}
    return pooled.observed(member, **{**given, **known})


def report(phase: Phase = Phase.SERVING, **fields: Any) -> Any:
    return pooled.engine_report(ID, phase, **fields)


def told(observed: PoolObserved) -> PoolStatus:
    return PoolStatus.model_validate(decide(observed, CONTEXT).status)


def engine(observed: PoolObserved) -> PoolEngine:
    (found,) = told(observed).engines
    return found


def test_the_end_of_a_keep_alive_is_told_of_one_that_is_idle() -> None:
    found = engine(idle_for(60.0))
    until = moment(found.until)
    assert until is not None
    assert until == builders.NOW + timedelta(seconds=240)
    assert engine(idle_for(1.0)).until is None


def test_an_end_that_moves_by_a_moment_is_not_told_anew() -> None:
    first = idle_for(60.0)
    status = told(first)
    later = replace(first, now=builders.NOW + timedelta(seconds=2), status=status)
    assert engine(later).until == status.engines[0].until


def test_one_that_is_on_its_way_says_how_far_it_is() -> None:
    pods = (pooled.pod(report(Phase.LOADING, percent=40, message="weights")),)
    found = engine(idle_for(0.0, pods=pods))
    assert (found.state, found.phase, found.percent) == ("Loading", "Loading", 40)
    assert found.message == "weights"


def test_one_that_was_told_to_go_says_why_until_it_is_gone() -> None:
    over = idle_for(10_000.0)
    first = told(over)
    assert (first.engines[0].state, first.engines[0].reason) == ("Draining", "KeepAliveOver")
    pods = (pooled.pod(report(Phase.DRAINING)),)
    later = engine(replace(over, status=first, pods=pods))
    assert (later.state, later.reason) == ("Draining", "KeepAliveOver")
    assert engine(replace(over, status=first, pods=(pooled.pod(),))).state == "Absent"


def test_what_a_failed_one_says_is_kept_when_its_pod_has_forgotten_it() -> None:
    failing = idle_for(0.0, pods=(pooled.pod(report(Phase.FAILED)),))
    first = told(failing)
    assert first.engines[0].attempt == 1
    forgotten = engine(replace(failing, status=first, pods=(pooled.pod(),)))
    assert (forgotten.attempt, forgotten.failure_reason) == (1, "CrashLoop")
    assert (forgotten.state, forgotten.reason) == ("Failed", "BackOff")
