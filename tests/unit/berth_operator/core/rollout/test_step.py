"""Roll-outs step by step, on a cluster with a few accelerators."""

import json
from datetime import timedelta
from typing import Any

import builders
import pytest
from fakes.cluster_of_one import planned
from fakes.cluster_with_cards import ClusterWithCards, serving

from berth_operator.core.kubernetes import is_active, is_finished, is_ready, is_terminating
from berth_operator.core.observed import Node
from berth_operator.core.resolved import resolve
from berth_operator.core.rollout.backoff import ANNOTATION_BACKOFF, FAILURES
from berth_operator.core.rollout.groups import Group, Look, places_leaving
from berth_operator.core.rollout.step import PATIENCE

UPDATE, THIRD, BROKEN = 4096, 2048, 512


def update(cluster: ClusterWithCards, length: int = UPDATE) -> tuple[str, str]:
    """Another spec; the revision that serves, and the one that is wanted now."""
    old: str = cluster.status["currentRevision"]
    cluster.wants(runtime={"maxModelLen": length})
    cluster.look()
    return old, cluster.status["updateRevision"]


def looks(cluster: ClusterWithCards, seconds: float, every: float = 1.0) -> None:
    for _ in range(int(seconds / every)):
        cluster.wait(every)
        cluster.look()


def drain(cluster: ClusterWithCards) -> None:
    """Those that are to go are idle, and end."""
    cluster.answer_all()
    looks(cluster, 4)
    cluster.finish()
    cluster.look()


def give_up_the_surge(cluster: ClusterWithCards) -> None:
    looks(cluster, PATIENCE.total_seconds())


def progressing(cluster: ClusterWithCards) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in cluster.status["conditions"] if one["type"] == "Progressing"
    )
    return found


def test_with_a_spare_accelerator_old_pods_go_one_by_one_as_new_ones_serve() -> None:
    cluster = serving(cards=4, replicas=3)
    old, new = update(cluster)
    assert cluster.replicas == {old: 3, new: 1}
    seen = []
    for _ in range(3):
        cluster.start()
        cluster.look()
        assert len(cluster.serving) == 3
        drain(cluster)
        seen.append((cluster.replicas.get(old, 0), cluster.replicas[new]))
    assert seen == [(2, 2), (1, 3), (0, 3)]
    assert cluster.replicas == {new: 3}


@pytest.mark.parametrize(("replicas", "beside"), [(1, 1), (4, 1), (7, 1), (8, 2), (12, 3)])
def test_a_quarter_of_the_replicas_but_at_least_one_starts_beside_the_old_ones(
    replicas: int, beside: int
) -> None:
    cluster = serving(cards=20, replicas=replicas)
    old, new = update(cluster)
    assert cluster.replicas == {old: replicas, new: beside}


def test_the_surge_is_given_up_only_after_a_while() -> None:
    cluster = serving(cards=1)
    old, new = update(cluster)
    looks(cluster, PATIENCE.total_seconds() - 1)
    assert len(cluster.serving) == 1
    looks(cluster, 1)
    assert cluster.serving == []
    drain(cluster)
    assert cluster.replicas == {old: 0, new: 1}
    cluster.start()
    cluster.look()
    assert cluster.replicas == {new: 1}


def test_without_a_spare_accelerator_one_place_at_a_time_is_given() -> None:
    cluster = serving(cards=3, replicas=3)
    _, new = update(cluster)
    give_up_the_surge(cluster)
    for served in (1, 2, 3):
        assert len(cluster.serving) == 2
        drain(cluster)
        cluster.start()
        cluster.look()
        assert sum(is_active(pod) for pod in cluster.of(new)) >= served
    drain(cluster)
    assert cluster.replicas == {new: 3}


def test_a_place_that_comes_free_meanwhile_does_as_well() -> None:
    cluster = serving(cards=1)
    old, _ = update(cluster)
    give_up_the_surge(cluster)
    assert cluster.serving == []
    cluster.cards = 2
    cluster.controllers()
    cluster.look()
    assert [pod["metadata"]["labels"]["berth.dev/revision"] for pod in cluster.serving] == [old]


def test_an_update_for_which_an_old_pods_place_is_no_use_waits_beside_it() -> None:
    cluster = serving(cards=1)
    cluster.full = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    old, new = update(cluster)
    looks(cluster, 1000, every=100)
    assert len(cluster.serving) == 1
    assert cluster.replicas == {old: 1, new: 1}


def test_an_update_that_fails_in_an_old_ones_place_is_given_up_and_the_old_one_comes_back() -> None:
    cluster = serving(cards=1)
    cluster.broken = {BROKEN}
    old, new = update(cluster, BROKEN)
    give_up_the_surge(cluster)
    drain(cluster)
    cluster.start()
    cluster.look()
    assert cluster.replicas == {old: 0, new: 1}, "an engine may end once"
    cluster.start()
    events = cluster.look().events
    assert cluster.replicas == {old: 1, new: 0}
    assert "RolloutBlocked" in {event.reason for event in events}
    cluster.finish()
    cluster.start()
    cluster.look()
    told = cluster.status
    assert (told["blockedRevision"], told["currentRevision"]) == (new, old)
    assert (told["phase"], told["readyReplicas"]) == ("Serving", 1)
    assert progressing(cluster)["reason"] == "RolloutBlocked"
    assert f"delete Deployment smollm2-{new} to retry" in progressing(cluster)["message"]


def blocked(cards: int = 1) -> tuple[ClusterWithCards, str, str]:
    cluster = serving(cards=cards, replicas=cards)
    cluster.broken = {BROKEN}
    old, new = update(cluster, BROKEN)
    give_up_the_surge(cluster)
    drain(cluster)
    for _ in range(2):
        cluster.start()
        cluster.look()
    for _ in range(3):
        drain(cluster)
        cluster.start()
        cluster.look()
    assert cluster.replicas == {old: cards, new: 0}
    return cluster, old, new


@pytest.mark.parametrize("cards", [1, 2, 3])
def test_a_blocked_update_is_not_tried_again_by_itself(cards: int) -> None:
    cluster, old, new = blocked(cards)
    for _ in range(20):
        cluster.start()
        cluster.wait(600)
        outcome = cluster.look()
        assert (outcome.patch, outcome.delete, outcome.events) == ((), (), ())
    assert cluster.replicas == {old: cards, new: 0}
    assert len(cluster.serving) == cards


def test_a_blocked_update_follows_no_size_and_the_one_that_serves_does() -> None:
    cluster, old, new = blocked(2)
    cluster.wants(replicas=1)
    cluster.look()
    drain(cluster)
    assert cluster.replicas == {old: 1, new: 0}


def test_a_blocked_update_that_serves_still_does_not_outlive_a_lost_pod_of_the_old_one() -> None:
    """All that is left of the old revision waits for a place; what failed is not gone back to."""
    cluster = serving(cards=3, replicas=3)
    old, new = update(cluster)
    give_up_the_surge(cluster)
    for _ in range(2):
        drain(cluster)
        if not any(revision_name(pod) == new for pod in cluster.serving):
            cluster.start()
            cluster.look()
    (starting,) = (pod for pod in placed(cluster, new) if not is_ready(pod))
    for _ in range(FAILURES):
        cluster.crash(starting)
    cluster.look()
    assert cluster.status["blockedRevision"] == new
    for pod in placed(cluster, old):
        cluster.delete(pod, by_user=True)
    cluster.controllers()
    cluster.look()
    assert [revision_name(pod) for pod in cluster.serving] == [new]
    assert cluster.replicas == {old: 2, new: 1}
    assert cluster.status["blockedRevision"] == new


def revision_name(pod: dict[str, Any]) -> str:
    """Of its revision."""
    found: str = pod["metadata"]["labels"]["berth.dev/revision"]
    return found


def placed(cluster: ClusterWithCards, revision: str) -> list[dict[str, Any]]:
    return [
        pod
        for pod in cluster.pods
        if revision_name(pod) == revision and is_active(pod) and "nodeName" in pod["spec"]
    ]


def test_deleting_its_deployment_has_a_blocked_update_tried_again() -> None:
    cluster, old, new = blocked()
    del cluster.one.objects["Deployment", f"smollm2-{new}"]
    cluster.look()
    assert cluster.replicas == {old: 1, new: 1}
    assert "blockedRevision" not in cluster.status


def test_another_spec_replaces_a_blocked_update() -> None:
    cluster, old, new = blocked()
    _, third = update(cluster, THIRD)
    assert cluster.replicas == {old: 1, third: 1}
    assert new not in cluster.replicas
    give_up_the_surge(cluster)
    drain(cluster)
    cluster.start()
    cluster.look()
    assert cluster.replicas == {third: 1}


def test_going_back_to_the_spec_that_serves_ends_a_blocked_update() -> None:
    cluster, old, _ = blocked()
    cluster.wants(runtime={})
    cluster.look()
    assert cluster.replicas == {old: 1}
    assert "blockedRevision" not in cluster.status


def fail(cluster: ClusterWithCards, times: int = FAILURES) -> None:
    """Whatever starts and is broken ends so often."""
    for _ in range(times):
        cluster.start()
        looks(cluster, 20, every=10)
    cluster.finish()


def test_an_update_that_fails_beside_the_old_one_gets_a_pause_and_is_tried_again() -> None:
    cluster = serving(cards=2)
    cluster.broken = {BROKEN}
    old, new = update(cluster, BROKEN)
    fail(cluster, FAILURES - 1)
    assert cluster.replicas == {old: 1, new: 1}
    fail(cluster, 1)
    assert cluster.replicas == {old: 1, new: 0}, "the card is free"
    assert len(cluster.serving) == 1
    told = progressing(cluster)
    assert told["reason"] == "RolloutBlocked"
    assert "it is tried again at 2026-" in told["message"]
    looks(cluster, 600, every=30)
    assert cluster.replicas == {old: 1, new: 1}
    fail(cluster)
    looks(cluster, 600, every=30)
    assert cluster.replicas == {old: 1, new: 0}, "the second pause is longer"


def test_an_update_that_starts_after_a_pause_takes_over_and_the_pause_is_forgotten() -> None:
    cluster = serving(cards=2)
    cluster.broken = {BROKEN}
    _, new = update(cluster, BROKEN)
    fail(cluster)
    cluster.broken = set()
    looks(cluster, 620, every=30)
    cluster.start()
    looks(cluster, 2)
    drain(cluster)
    assert cluster.replicas == {new: 1}
    (deployment,) = cluster.one.kind("Deployment")
    assert ANNOTATION_BACKOFF not in deployment["metadata"].get("annotations", {})


def test_what_has_never_started_is_tried_again_with_one_pod() -> None:
    cr = builders.model_deployment(replicas=3)
    cluster = ClusterWithCards(3, planned(cr=cr))
    cluster.controllers()
    (new,) = cluster.replicas
    assert cluster.replicas == {new: 3}
    cluster.broken = {8192}  # all that SmolLM2 has
    fail(cluster)
    assert cluster.replicas == {new: 0}
    cluster.broken = set()
    looks(cluster, 600, every=30)
    assert cluster.replicas == {new: 1}
    cluster.start()
    looks(cluster, 1)
    assert cluster.replicas == {new: 3}


def test_an_update_that_a_broken_card_ends_is_not_given_up_for_it() -> None:
    cluster = serving(cards=1)
    cluster.broken = {BROKEN}
    _, new = update(cluster, BROKEN)
    give_up_the_surge(cluster)
    drain(cluster)
    ill = {"type": "GpuMemWatch", "status": "True"}
    cluster.one.known["nodes"] = (Node("node-1", {}, {}, conditions=(ill,)),)
    fail(cluster, 3)
    assert cluster.replicas[new] == 1
    assert "blockedRevision" not in cluster.status
    assert cluster.status["reason"] == "DeviceUnhealthy"
    cluster.one.known["nodes"] = (Node("node-1", {}, {}),)
    looks(cluster, 1)
    assert cluster.status["blockedRevision"] == new


def test_another_spec_is_tried_at_once() -> None:
    cluster = serving(cards=2)
    cluster.broken = {BROKEN}
    old, _ = update(cluster, BROKEN)
    fail(cluster)
    _, third = update(cluster, THIRD)
    assert cluster.replicas == {old: 1, third: 1}


def test_a_first_revision_that_never_starts_gets_pauses_too_and_is_not_told_as_current() -> None:
    cluster = ClusterWithCards(cards=1)
    cluster.broken = {8192}  # all that SmolLM2 has
    cluster.look()
    (new,) = cluster.replicas
    fail(cluster)
    assert cluster.replicas == {new: 0}
    assert "currentRevision" not in cluster.status
    told = cluster.status
    assert (told["phase"], told["reason"]) == ("Failed", "CrashLoop")
    assert "it is tried again at 2026-" in told["message"]
    looks(cluster, 600, every=30)
    assert cluster.replicas == {new: 1}


def refuse(cluster: ClusterWithCards, times: int) -> None:
    """A kubelet whose device plugin is broken, and a ReplicaSet that never tires."""
    for _ in range(times):
        for pod in [one for one in cluster.pods if is_active(one) and not is_ready(one)]:
            pod["status"] |= {"phase": "Failed", "reason": "UnexpectedAdmissionError"}
        cluster.controllers()
        looks(cluster, 1)


def test_a_broken_device_plugin_makes_no_endless_row_of_pods() -> None:
    cluster = serving(cards=3)
    (name,) = cluster.replicas
    cluster.wants(replicas=3)
    cluster.look()
    refuse(cluster, 20)
    assert cluster.replicas == {name: 1}, "those that serve are kept"
    assert len(cluster.serving) == 1
    assert sum(is_finished(pod) for pod in cluster.pods) <= FAILURES + 2
    assert cluster.status["reason"] == "DeviceUnhealthy"
    cluster.finish()
    looks(cluster, 30)
    assert cluster.replicas == {name: 3}
    cluster.start()
    looks(cluster, 2)
    assert len(cluster.serving) == 3
    assert cluster.status["reason"] == "Serving"


def test_a_place_on_a_node_that_nobody_hears_is_nobodys() -> None:
    cluster = serving(cards=1)
    update(cluster)
    give_up_the_surge(cluster)
    cluster.answer_all()
    looks(cluster, 4)
    (ending,) = [pod for pod in cluster.pods if is_terminating(pod)]
    unheard = {"type": "Ready", "status": "Unknown"}
    cluster.one.known["nodes"] = (Node("node-1", {}, {}, conditions=(unheard,)),)
    look = Look(cluster.one.observe(), resolve(cluster.one.cr), 1, PATIENCE)
    assert places_leaving(look, Group("new"), []) == 0
    cluster.one.known["nodes"] = (Node("node-1", {}, {}),)
    assert ending["spec"]["nodeName"] == "node-1"
    look = Look(cluster.one.observe(), resolve(cluster.one.cr), 1, PATIENCE)
    assert places_leaving(look, Group("new"), []) == 1


def test_a_failing_update_in_the_way_of_growing_demand_is_given_up() -> None:
    cluster = serving(cards=2)
    cluster.broken = {BROKEN}
    old, new = update(cluster, BROKEN)
    cluster.start()
    cluster.start()
    cluster.wants(replicas=2)
    looks(cluster, 2)
    cluster.finish()
    assert cluster.replicas == {old: 2, new: 0}


def test_an_update_that_finds_no_place_even_then_is_given_up() -> None:
    cluster = serving(cards=1)
    old, new = update(cluster)
    give_up_the_surge(cluster)
    looks(cluster, 4)
    cluster.cards = 0  # someone else's pod was quicker
    cluster.finish()
    looks(cluster, 70, every=10)
    assert cluster.replicas == {old: 1, new: 0}
    assert "Insufficient" in progressing(cluster)["message"]


def test_a_clock_that_was_put_back_does_not_keep_an_update_waiting_for_its_place() -> None:
    cluster = serving(cards=1)
    old, new = update(cluster)
    give_up_the_surge(cluster)
    looks(cluster, 4)
    cluster.cards = 0
    cluster.finish()
    looks(cluster, 10)
    cluster.one.seconds -= 3600
    looks(cluster, 70, every=10)
    assert cluster.replicas == {old: 1, new: 0}


def test_recreate_drains_all_then_starts_the_new_one() -> None:
    cluster = serving(cards=5, replicas=2, rollout={"strategy": "Recreate"})
    old, new = update(cluster)
    assert cluster.serving == []
    assert cluster.replicas == {old: 2, new: 0}
    cluster.answer_all()
    looks(cluster, 4)
    assert cluster.replicas == {old: 0, new: 0}, "its pods have not gone yet"
    cluster.finish()
    cluster.look()
    assert cluster.replicas == {old: 0, new: 2}
    cluster.start()
    cluster.look()
    assert cluster.replicas == {new: 2}


def test_recreate_comes_back_to_the_old_revision_if_the_new_one_fails() -> None:
    cluster = serving(cards=1, rollout={"strategy": "Recreate"})
    cluster.broken = {BROKEN}
    old, new = update(cluster, BROKEN)
    drain(cluster)
    for _ in range(3):
        cluster.start()
        cluster.look()
    drain(cluster)
    assert cluster.replicas == {old: 1, new: 0}


def test_a_third_revision_midway_ends_with_one_deployment() -> None:
    cluster = serving(cards=5, replicas=4)
    _, second = update(cluster)
    cluster.start()
    cluster.look()
    drain(cluster)
    _, third = update(cluster, THIRD)
    assert second in cluster.replicas, "one of its pods serves"
    for _ in range(6):
        cluster.start()
        cluster.look()
        assert len(cluster.serving) == 4
        drain(cluster)
    assert cluster.replicas == {third: 4}


def test_a_restarted_operator_goes_on_in_the_middle() -> None:
    cluster = serving(cards=1)
    _, new = update(cluster)
    give_up_the_surge(cluster)
    looks(cluster, 4)
    cluster.one.known.pop("remembered", None)
    drain(cluster)
    cluster.start()
    cluster.look()
    assert cluster.replicas == {new: 1}


def fall_asleep(cluster: ClusterWithCards) -> None:
    cluster.wants(replicas=0)
    cluster.look()
    drain(cluster)
    assert cluster.pods == []


def wake(cluster: ClusterWithCards, replicas: int = 1) -> None:
    cluster.wants(replicas=replicas)
    cluster.look()
    for _ in range(4):
        cluster.start()
        drain(cluster)


def asleep_with_an_update(length: int, cards: int = 1) -> tuple[ClusterWithCards, str, str]:
    cluster = serving(cards=cards)
    cluster.broken = {BROKEN}
    fall_asleep(cluster)
    old, new = update(cluster, length)
    assert cluster.replicas == {old: 0, new: 0}
    assert cluster.status["currentRevision"] == old
    return cluster, old, new


@pytest.mark.parametrize("cards", [1, 2])
def test_a_model_that_sleeps_while_its_update_crashes_wakes_with_what_served(cards: int) -> None:
    cluster = serving(cards=cards)
    cluster.broken = {BROKEN}
    old, new = update(cluster, BROKEN)
    for _ in range(3):
        cluster.start()
        looks(cluster, 3)
    fall_asleep(cluster)
    assert cluster.replicas == {old: 0, new: 0}
    wake(cluster)
    assert cluster.replicas == {old: 1, new: 0}
    assert len(cluster.serving) == 1
    assert cluster.status["blockedRevision"] == new


def test_a_spec_that_changed_in_sleep_is_tried_first_on_waking() -> None:
    cluster, old, new = asleep_with_an_update(UPDATE)
    cluster.wants(replicas=1)
    cluster.look()
    assert cluster.replicas == {old: 0, new: 1}
    cluster.start()
    cluster.look()
    assert cluster.replicas == {new: 1}


def test_a_spec_that_changed_in_sleep_and_fails_on_waking_is_given_up() -> None:
    cluster, old, new = asleep_with_an_update(BROKEN)
    wake(cluster)
    assert cluster.replicas == {old: 1, new: 0}
    assert len(cluster.serving) == 1


def test_an_update_that_has_served_sleeps_alone() -> None:
    cluster = serving(cards=2)
    _, new = update(cluster)
    cluster.start()
    cluster.look()
    fall_asleep(cluster)
    assert cluster.replicas == {new: 0}


def test_of_several_updates_in_sleep_the_last_is_kept_beside_what_served() -> None:
    cluster, old, _ = asleep_with_an_update(UPDATE)
    _, third = update(cluster, THIRD)
    assert cluster.replicas == {old: 0, third: 0}
    cluster.wants(runtime={})
    cluster.look()
    assert cluster.replicas == {old: 0}


def test_an_update_that_no_node_takes_on_waking_gives_way_to_what_served() -> None:
    cluster, old, _ = asleep_with_an_update(UPDATE, cards=1)
    cluster.wants(podTemplate={"nodeSelector": {"disk": "none"}})
    cluster.look()
    new = cluster.status["updateRevision"]
    cluster.cards, cluster.full = 0, "0/1 nodes are available: 1 node(s) didn't match."
    cluster.wants(replicas=1)
    looks(cluster, 55, every=5)
    assert cluster.replicas == {old: 0, new: 1}
    looks(cluster, 20, every=5)
    assert cluster.replicas == {old: 1, new: 0}


def test_an_update_that_waits_on_waking_for_what_the_old_one_lacks_too_is_not_given_up() -> None:
    cluster, old, new = asleep_with_an_update(UPDATE)
    cluster.cards = 0
    cluster.wants(replicas=1)
    looks(cluster, 600, every=20)
    assert cluster.replicas == {old: 0, new: 1}


@pytest.mark.parametrize("cards", [1, 2])
def test_a_revision_that_never_ran_is_not_what_an_update_falls_back_to(cards: int) -> None:
    cluster = serving(cards=cards, replicas=cards)
    cluster.crash(cluster.pods[0])
    cluster.look()
    old, never_ran = update(cluster, THIRD)
    assert never_ran in cluster.replicas
    cluster.wants(runtime={})
    cluster.look()
    cluster.crash(cluster.pods[0])
    looks(cluster, 3)
    assert cluster.replicas == {old: cards}
    assert cluster.status["currentRevision"] == old
    assert "blockedRevision" not in cluster.status


def test_a_roll_out_writes_a_bounded_number_of_times() -> None:
    cluster = serving(cards=3, replicas=3)
    before = json.dumps(cluster.replicas)
    _, new = update(cluster)
    written = 0
    for _ in range(12):
        cluster.start()
        for _ in range(5):
            deployments = json.dumps(cluster.one.kind("Deployment"))
            cluster.wait(timedelta(seconds=3).total_seconds())
            outcome = cluster.look()
            changed = json.dumps(cluster.one.kind("Deployment")) != deployments
            written += len(outcome.patch) + changed
            cluster.finish()
    assert cluster.replicas == {new: 3}
    assert before != json.dumps(cluster.replicas)
    assert written <= 3 * 6, "two patches and a few sizes for each replica"
