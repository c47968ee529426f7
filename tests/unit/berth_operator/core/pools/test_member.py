"""A pool's model, look by look, as `core.decide` hands it on."""

from dataclasses import replace
from typing import Any

import builders
import pooled
import pytest

from berth_api import names
from berth_api.pool import PoolEngine, PoolStatus
from berth_api.shape import ShapeReport
from berth_operator.core.decide import decide
from berth_operator.core.observed import Children, Load, Observed
from berth_operator.core.outcome import Outcome
from berth_operator.core.pools.revision import readable

SOURCE = "pvc://models/a"
CONTEXT = builders.context()


def observed(cr: dict[str, Any] | None = None, **known: Any) -> Observed:
    shapes = known.pop("shapes", {SOURCE: pooled.SHAPE})
    pool = known.pop("pool", pooled.pool_cr())
    return builders.observed(cr or pooled.model_cr(), pool=pool, shapes=shapes, **known)


def planned(cr: dict[str, Any] | None = None, *before: dict[str, Any]) -> dict[str, Any]:
    """The ControllerRevision that is made for the model after those before."""
    outcome = decide(observed(cr, children=Children(revisions=before)), CONTEXT)
    (made,) = (one for one in outcome.apply if one["kind"] == "ControllerRevision")
    return _live(made)


def _live(obj: dict[str, Any]) -> dict[str, Any]:
    return obj | {"metadata": obj["metadata"] | {"uid": f"uid-{obj['metadata']['name']}"}}


def engine_of(stored: dict[str, Any], state: str, **fields: Any) -> dict[str, Any]:
    """The pool, with what it tells of that plan's engine."""
    (plan,) = readable([stored])
    told = PoolEngine(id=plan.id, state=state, memory_bytes=plan.card_bytes, **fields)
    return pooled.pool_cr() | {"status": PoolStatus(engines=[told]).wire()}


def look(stored: dict[str, Any], pool: dict[str, Any], **known: Any) -> Outcome:
    return decide(observed(children=Children(revisions=(stored,)), pool=pool, **known), CONTEXT)


def status(outcome: Outcome) -> dict[str, Any]:
    assert outcome.status is not None
    return outcome.status


def ready(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = status(outcome)["conditions"][0]
    assert found["type"] == "Ready"
    return found


def test_a_model_of_a_pool_gets_a_plan_and_no_pods_of_its_own() -> None:
    outcome = decide(observed(), CONTEXT)
    assert [one["kind"] for one in outcome.apply] == ["ControllerRevision"]
    assert status(outcome)["plan"]["gpuMemoryFraction"] < "0.5"


def test_its_plan_is_made_once() -> None:
    stored = planned()
    assert look(stored, pooled.pool_cr()).apply == ()


def test_a_pool_that_is_not_there_is_told_by_its_name() -> None:
    outcome = decide(observed(pool=None), CONTEXT)
    assert status(outcome)["phase"] == "Failed"
    assert "spec.pool shared" in status(outcome)["message"]
    assert outcome.apply == ()
    assert outcome.look_again_seconds is not None


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"runtime": {"image": "example.test/other:2"}}, "spec.runtime.image"),
        ({"runtime": {"engineProfile": "vllm-cpu"}}, "spec.runtime.engineProfile"),
        ({"runtime": {"extraArgs": ["--port", "1"]}}, "spec.runtime.extraArgs"),
        ({"runtime": {"maxModelLen": 10**6}}, "maxModelLen"),
    ],
)
def test_what_a_pools_engine_cannot_be_is_refused_by_its_field(
    spec: dict[str, Any], named: str
) -> None:
    outcome = decide(observed(pooled.model_cr(**spec)), CONTEXT)
    assert status(outcome)["phase"] == "Failed"
    assert named in status(outcome)["message"]
    assert outcome.apply == ()


def test_a_claim_that_the_pods_do_not_mount_is_refused() -> None:
    source = "pvc://elsewhere/a"
    outcome = decide(
        observed(pooled.model_cr(source=source), shapes={source: pooled.SHAPE}), CONTEXT
    )
    assert "mount claim models and no other" in status(outcome)["message"]


def test_a_shape_that_is_not_known_is_read_first() -> None:
    outcome = decide(observed(shapes={}), CONTEXT)
    assert [one["kind"] for one in outcome.apply] == ["Job"]
    assert status(outcome)["phase"] == "Planning"


def test_a_hubs_files_are_fetched_by_a_job_once_there_is_a_plan() -> None:
    source = "hf://org/model"
    known = {source: ShapeReport.model_validate(builders.SMOLLM2_REPORT)}
    outcome = decide(observed(pooled.model_cr(source=source), shapes=known), CONTEXT)
    assert [one["kind"] for one in outcome.apply] == ["ControllerRevision", "Job"]
    assert status(outcome)["phase"] == "Fetching"


@pytest.mark.parametrize(
    ("state", "fields", "phase", "reason"),
    [
        ("Serving", {"pod": "p", "pod_uid": "u", "cards": [0]}, "Serving", "Serving"),
        ("Loading", {"pod": "p", "pod_uid": "u", "phase": "Loading"}, "Loading", "Activating"),
        ("Loading", {"pod": "p", "pod_uid": "u"}, "Starting", "Activating"),
        ("Waiting", {"message": "b is busy"}, "Pending", "Activating"),
        ("Absent", {}, "Idle", "ScaledToZero"),
        ("Refused", {"message": "too large", "failure_fix": "smaller"}, "Failed", "DoesNotFit"),
        ("Failed", {"failure_reason": "CrashLoop", "attempt": 2}, "Failed", "CrashLoop"),
    ],
)
def test_its_phase_is_what_the_pool_says_of_its_engine(
    state: str, fields: dict[str, Any], phase: str, reason: str
) -> None:
    stored = planned()
    outcome = look(stored, engine_of(stored, state, **fields))
    assert (status(outcome)["phase"], status(outcome)["reason"]) == (phase, reason)
    assert ready(outcome)["status"] == ("True" if phase in ("Serving", "Idle") else "False")


def test_how_many_wait_is_told() -> None:
    stored = planned()
    outcome = look(stored, engine_of(stored, "Waiting"), load=Load(held=3, oldest_seconds=4.2))
    assert status(outcome)["queue"] == {"depth": 3, "oldestSeconds": 4}


def edited(pool_state: str) -> Outcome:
    """The plan before serves; the new one is as it is said."""
    before = planned(pooled.model_cr(runtime={"maxModelLen": 1024}))
    now = planned(None, before)
    first = engine_of(before, "Serving", pod="p", pod_uid="u")
    second = engine_of(now, pool_state, pod="p", pod_uid="u")
    engines = [*first["status"]["engines"], *second["status"]["engines"]]
    pool = pooled.pool_cr() | {"status": first["status"] | {"engines": engines}}
    children = Children(revisions=(before, now))
    return decide(observed(children=children, pool=pool), CONTEXT)


def test_the_plan_before_is_kept_until_the_new_engine_serves() -> None:
    loading = edited("Loading")
    assert loading.delete == ()
    assert status(loading)["phase"] == "Serving"
    serving = edited("Serving")
    assert [one.kind for one in serving.delete] == ["ControllerRevision"]


def test_the_plan_before_is_gone_with_its_engine_where_that_does_not_serve() -> None:
    before = planned(pooled.model_cr(runtime={"maxModelLen": 1024}))
    now = planned(None, before)
    pool = engine_of(now, "Absent")
    outcome = decide(observed(children=Children(revisions=(before, now)), pool=pool), CONTEXT)
    assert [one.name for one in outcome.delete] == [before["metadata"]["name"]]


def refused(pool: dict[str, Any], stored: dict[str, Any] | None = None) -> Outcome:
    """After an edit that cannot be planned; `pool` tells of what was planned before."""
    wrong = pooled.model_cr(runtime={"maxModelLen": 10**6})
    children = Children(revisions=(stored or planned(),))
    return decide(observed(wrong, children=children, pool=pool), CONTEXT)


def test_an_edit_that_is_refused_while_the_plan_before_serves_is_degraded() -> None:
    outcome = refused(engine_of(planned(), "Serving", pod="p", pod_uid="u"))
    assert (ready(outcome)["status"], ready(outcome)["reason"]) == ("True", "Degraded")
    assert (status(outcome)["phase"], status(outcome)["readyReplicas"]) == ("Serving", 1)
    assert "maxModelLen" in status(outcome)["message"]


@pytest.mark.parametrize(
    ("cr", "reason"),
    [
        (pooled.model_cr(paused=True), "Paused"),
        (pooled.model_cr(source="ftp://nowhere"), "InvalidSpec"),
    ],
)
def test_what_nothing_is_changed_of_is_told_to_serve_while_its_engine_does(
    cr: dict[str, Any], reason: str
) -> None:
    stored = planned()
    children = Children(revisions=(stored,))
    for state, serves in (("Serving", 1), ("Absent", 0)):
        pool = engine_of(stored, state, pod="p", pod_uid="u")
        outcome = decide(observed(cr, children=children, pool=pool), CONTEXT)
        assert ready(outcome)["status"] == str(bool(serves))
        assert (status(outcome)["reason"], status(outcome)["readyReplicas"]) == (reason, serves)


def test_a_pool_that_is_being_deleted_serves_nothing() -> None:
    pool = engine_of(planned(), "Serving", pod="p", pod_uid="u")
    going = {**pool["metadata"], "deletionTimestamp": "2026-01-02T03:04:05Z"}
    outcome = refused(pool | {"metadata": going})
    assert (status(outcome)["phase"], ready(outcome)["status"]) == ("Failed", "False")


def test_the_same_engine_of_another_pool_is_not_its_own() -> None:
    stored = planned()
    pool = engine_of(stored, "Serving", pod="p", pod_uid="u")
    stored["data"]["pooled"]["pool"] = "another"
    assert ready(refused(pool, stored))["status"] == "False"


def test_an_edit_that_is_refused_keeps_what_tells_that_the_files_are_there() -> None:
    source = "hf://org/model"
    cr = pooled.model_cr(source=source)
    first = decide(observed(cr, shapes={source: pooled.SHAPE}), CONTEXT)
    stored, job = (_live(one) for one in first.apply)
    wrong = pooled.model_cr(source=source, runtime={"maxModelLen": 10**6})
    children = Children(revisions=(stored,), jobs=(job,))
    outcome = decide(observed(wrong, shapes={source: pooled.SHAPE}, children=children), CONTEXT)
    assert status(outcome)["phase"] == "Failed"
    assert outcome.delete == ()


def test_a_model_that_has_left_its_pool_leaves_its_plans() -> None:
    stored = planned()
    alone = pooled.model_cr()
    del alone["spec"]["pool"]
    children = Children(revisions=(stored,))
    outcome = decide(replace(observed(alone, children=children), pool=None), CONTEXT)
    assert stored["metadata"]["name"] in {one.name for one in outcome.delete}


def test_its_selector_is_its_pools_pods() -> None:
    outcome = decide(observed(), CONTEXT)
    assert status(outcome)["selector"].startswith(f"{names.LABEL_POOL}=shared,")
