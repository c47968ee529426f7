"""One look at a pool; whole lives of one are in `test_pool_reconcile`."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import builders
import pooled
import pytest

from berth_api import names
from berth_api.pool import PoolEngine, PoolStatus
from berth_operator.core.drift import stamp
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.objects import endpoint_slice
from berth_operator.core.observed import Load, Node, Pod, Refusal
from berth_operator.core.pools.decide import MOVING_SECONDS, REST_SECONDS, PoolOutcome, decide
from berth_operator.core.pools.observed import Member, PoolObserved

CONTEXT = builders.context()


def asked(**known: Any) -> Member:
    return pooled.member(load=Load(complete=True, held=1, idle_seconds=0.0), **known)


def look(observed: PoolObserved) -> PoolOutcome:
    return decide(observed, CONTEXT)


def told(outcome: PoolOutcome) -> PoolStatus:
    return PoolStatus.model_validate(outcome.status)


def again(observed: PoolObserved, outcome: PoolOutcome, **seen: Any) -> PoolObserved:
    """The next look: the status was written, the objects are there."""
    kinds = {"ControllerRevision": "revisions", "Deployment": "deployments"}
    kinds["PodDisruptionBudget"] = "budgets"
    there = {
        name: tuple(stamp(one) for one in outcome.apply if one["kind"] == kind)
        for kind, name in kinds.items()
    }
    cr = {**observed.cr, "status": outcome.status}
    return replace(observed, cr=cr, status=told(outcome), **there | seen)


def test_a_pool_is_its_key_its_template_its_pods_and_a_budget() -> None:
    outcome = look(pooled.observed())
    kinds = [one["kind"] for one in outcome.apply]
    assert kinds == ["Secret", "ControllerRevision", "Deployment", "PodDisruptionBudget"]


def test_what_stands_is_not_wanted_anew() -> None:
    first = look(pooled.observed())
    second = look(again(pooled.observed(), first))
    assert [one["kind"] for one in second.apply] == ["Deployment", "PodDisruptionBudget"]
    assert second.delete == ()
    assert second.status == first.status


@pytest.mark.parametrize(("seconds", "wanted"), [(30, False), (90, True)])
def test_a_key_that_someone_deleted_is_written_again_when_a_pod_waits_for_it(
    *, seconds: int, wanted: bool
) -> None:
    first = look(pooled.observed())
    waiting = Pod(pooled.pod_object(ready=False))
    since = timestamp(builders.NOW - timedelta(seconds=seconds))
    mounts = {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": since}
    waiting.object["status"]["conditions"].append(mounts)
    outcome = look(again(pooled.observed(), first, pods=(waiting,)))
    assert ("Secret" in [one["kind"] for one in outcome.apply]) == wanted


def test_a_pods_template_is_the_one_that_was_kept_whatever_this_berth_would_render() -> None:
    first = look(pooled.observed())
    after = again(pooled.observed(), first)
    (kept,) = after.revisions
    old = {**kept, "data": {"template": {"rendered": "by an older one"}}}
    outcome = look(replace(after, revisions=(old,)))
    (deployment,) = (one for one in outcome.apply if one["kind"] == "Deployment")
    assert deployment["spec"]["template"] == {"rendered": "by an older one"}


def test_a_pool_that_cannot_have_pods_says_why_and_is_judged_again() -> None:
    outcome = look(pooled.observed(spec={"accelerator": {"profile": "a100"}}))
    assert (told(outcome).phase, told(outcome).reason) == ("Refused", "InvalidSpec")
    assert "Fix:" in (told(outcome).message or "")
    assert outcome.apply == ()
    assert outcome.look_again_seconds is not None


def test_of_a_pool_that_can_have_no_more_pods_no_route_leads_to_one_that_is_gone() -> None:
    before = served(asked())
    (kept,) = look(before).routes
    kept["metadata"]["uid"] = "s"
    nowhere = pooled.observed(asked(), spec={"accelerator": {"profile": "a100"}}, slices=(kept,))
    assert look(nowhere).routes == ()
    (wanted,) = look(replace(nowhere, pods=())).routes
    assert (wanted["metadata"]["name"], wanted["endpoints"]) == (names.model_slice("a"), [])
    left = look(replace(nowhere, members=(), pods=()))
    assert ([one.uid for one in left.withdraw], left.routes) == (["s"], ())


def test_what_is_asked_for_is_ordered_and_told_before_it_is_there() -> None:
    outcome = look(pooled.observed(asked()))
    (engine,) = told(outcome).engines
    assert (engine.state, engine.reason, engine.pod) == ("Loading", "Held", "shared-pool-0")
    (order,) = outcome.orders
    assert [one.id for one in order.orders.engines] == [engine.id]
    assert order.orders.sequence == told(outcome).sequence
    assert outcome.routes == ()
    assert outcome.look_again_seconds == MOVING_SECONDS


def served(member: Member) -> PoolObserved:
    first = look(pooled.observed(member))
    (engine,) = told(first).engines
    report = pooled.engine_report(engine.id, port=engine.port, memory_bytes=engine.memory_bytes)
    return again(pooled.observed(member), first, pods=(pooled.pod(report),))


def test_one_that_serves_is_routed_at_its_port() -> None:
    outcome = look(served(asked()))
    (engine,) = told(outcome).engines
    assert engine.state == "Serving"
    (route,) = outcome.routes
    assert route["metadata"]["name"] == names.model_slice("a")
    assert route["ports"][0]["port"] == engine.port
    assert route["endpoints"][0]["addresses"] == ["10.0.0.1"]
    assert route["metadata"]["annotations"][names.ANNOTATION_SERVED_MODEL] == engine.id


@pytest.mark.parametrize("gone", [{"ready": False}, {"deletionTimestamp": "2026-01-02T03:04:05Z"}])
def test_what_cannot_be_reached_is_not_routed(gone: dict[str, Any]) -> None:
    before = served(asked())
    route = stamp(look(before).routes[0])
    (report,) = (one.report for one in before.pods)
    lost = replace(pooled.pod(**gone), report=report)
    (wanted,) = look(replace(before, pods=(lost,), slices=(route,))).routes
    assert wanted["endpoints"] == []


def test_what_was_in_a_pod_that_is_lost_with_its_node_is_loaded_in_another() -> None:
    before = served(asked())
    lost = replace(pooled.pod(ready=False), report=None)
    other = pooled.pod(name="shared-pool-1")
    other.object["spec"]["nodeName"] = "node-2"
    node = Node(name="node-2", labels={}, allocatable={})
    known = replace(before, pods=(lost, other))
    (engine,) = told(look(known)).engines
    assert engine.pod == "shared-pool-0"
    (engine,) = told(look(replace(known, nodes=(node,)))).engines
    assert (engine.pod, engine.state) == ("shared-pool-1", "Loading")


def test_the_route_of_a_model_that_left_is_withdrawn() -> None:
    stranger = pooled.member(pooled.model_cr("b"))
    pool = pooled.observed().pool
    route = endpoint_slice.build(stranger.resolved, pool, "e", 8100, (pooled.pod_object(),))
    route["metadata"]["uid"] = "s"
    outcome = look(replace(served(asked()), slices=(route,)))
    assert [one.uid for one in outcome.withdraw] == ["s"]
    assert [one["metadata"]["name"] for one in outcome.routes] == [names.model_slice("a")]


def test_at_rest_it_looks_now_and_then_for_what_crashes() -> None:
    idle = pooled.member(load=Load(complete=True, idle_seconds=1.0))
    outcome = look(pooled.observed(idle))
    assert [one.state for one in told(outcome).engines] == ["Absent"]
    assert outcome.look_again_seconds == REST_SECONDS


def test_the_sequence_grows_with_the_orders_and_only_then() -> None:
    first = look(pooled.observed())
    same = look(again(pooled.observed(), first))
    more = look(again(pooled.observed(asked()), first))
    sequences = [told(one).sequence for one in (first, same, more)]
    assert sequences[0] == sequences[1] < sequences[2]


def test_a_status_that_was_lost_counts_on_from_what_a_pod_has_heard() -> None:
    outcome = look(pooled.observed(pods=(pooled.pod(sequence=57),)))
    assert told(outcome).sequence == 58


def test_an_old_template_goes_when_another_is_wanted() -> None:
    first = look(pooled.observed())
    before = again(pooled.observed(), first)
    old = tuple({**one, "metadata": {**one["metadata"], "uid": "t"}} for one in before.revisions)
    changed = pooled.observed(spec={"runtime": {"image": "example.test/other:2"}})
    outcome = look(replace(changed, revisions=old, budgets=before.budgets))
    assert [one.uid for one in outcome.delete] == ["t"]
    (made,) = (one for one in outcome.apply if one["kind"] == "ControllerRevision")
    assert made["revision"] == 2


def test_what_the_api_server_refused_is_told_in_the_status() -> None:
    refused = (Refusal("Deployment", "shared-pool", "exceeded quota: gpus"),)
    outcome = look(pooled.observed(refusals=refused, pods=()))
    assert "exceeded quota" in (told(outcome).message or "")


def test_memory_of_a_card_that_is_granted_is_told() -> None:
    (card,) = told(look(served(asked()))).cards
    assert card.granted_bytes == 30 * pooled.GIB
    assert card.total_bytes > card.granted_bytes


def test_an_engine_that_is_larger_than_any_card_is_refused_before_it_is_asked_for() -> None:
    cr = pooled.model_cr()
    huge = pooled.member(cr, pooled.plan_of(cr, gib=79))
    (engine,) = told(look(pooled.observed(huge))).engines
    assert engine.state == "Refused"
    assert engine.failure_fix


def test_of_an_engine_that_nobody_knows_any_more_nothing_is_kept() -> None:
    gone = PoolEngine(id="gone", state="Absent", memory_bytes=1, attempt=3)
    outcome = look(pooled.observed(status=PoolStatus(engines=[gone])))
    assert told(outcome).engines == []
