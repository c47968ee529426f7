"""Whatever users, pods and clients do, in any order: no stream is cut, and it comes to rest."""

import copy
from typing import Any

import pytest
from fakes.cluster_with_cards import ClusterWithCards, serving
from hypothesis import example, given, settings
from hypothesis import strategies as st

from berth_operator.core.kubernetes import is_active
from berth_operator.core.rollout.groups import ANNOTATION_PLACE

GOOD, BROKEN = (4096, 2048, 1024), 512
QUIET = 3
ROUNDS = 25  # a step takes at most one drain, one start and the scheduler's minute

events = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.0, 3.0, 11.0, 70.0, 400.0])),
    st.tuples(st.just("start"), st.integers(1, 3)),
    st.tuples(st.just("finish"), st.none()),
    st.tuples(st.just("request"), st.integers(0, 5)),
    st.tuples(st.just("answer"), st.none()),
    st.tuples(st.just("crash"), st.integers(0, 5)),
    st.tuples(st.just("kill"), st.integers(0, 5)),
    st.tuples(st.just("update"), st.sampled_from([*GOOD, BROKEN])),
    st.tuples(st.just("scale"), st.integers(0, 4)),
)


def happen(cluster: ClusterWithCards, kind: str, value: Any) -> None:
    pods = [pod for pod in cluster.pods if is_active(pod) and "nodeName" in pod["spec"]]
    match kind:
        case "wait":
            cluster.wait(value)
        case "start":
            cluster.start(value)
        case "finish":
            cluster.finish()
        case "answer":
            cluster.answer_all()
        case "update":
            cluster.wants(runtime={"maxModelLen": value})
        case "scale":
            cluster.wants(replicas=value)
        case "request" if pods:
            cluster.request(pods[value % len(pods)])
        case "crash" if pods:
            cluster.crash(pods[value % len(pods)])
        case "kill" if pods:
            cluster.delete(pods[value % len(pods)], by_user=True)
            cluster.controllers()
        case _:
            pass


def look(cluster: ClusterWithCards) -> None:
    """One look, and what it must never do."""
    before, free = len(cluster.serving), cluster.free
    asked = sum(cluster.replicas.values())
    cluster.look()
    goal = min(cluster.wanted, before)
    # Without an accelerator to spare at most one place is given up.
    assert len(cluster.serving) >= (goal if free > 0 else goal - 1)
    assert not cluster.cut
    most = cluster.wanted + max(1, cluster.wanted // 4)
    assert sum(cluster.replicas.values()) <= max(most, asked)


def settle(cluster: ClusterWithCards) -> None:
    """Nothing more goes wrong, clients get their answers, and time passes."""
    quiet = 0
    for _ in range(ROUNDS):
        before = stage(cluster)
        for seconds in (0.5, 1.0, 1.5, 12.0, 61.0, 601.0):  # as long as a loop's first pause
            look(cluster)
            cluster.wait(seconds)
            cluster.answer_all()
        cluster.start()
        cluster.finish()
        quiet = quiet + 1 if stage(cluster) == before else 0
        if quiet == QUIET:
            return
    raise AssertionError("never at rest")


def stage(cluster: ClusterWithCards) -> tuple[Any, ...]:
    """How far a roll-out is; a broken update goes on crashing at rest too."""
    names = [pod["metadata"]["name"] for pod in cluster.pods]
    return cluster.replicas, names, [pod["metadata"]["name"] for pod in cluster.serving]


def assert_at_rest(cluster: ClusterWithCards) -> None:
    cluster.look()
    cluster.look()  # the first may have paused a broken update, whose pods this one sees gone
    before = copy.deepcopy((cluster.one.objects, cluster.pods, cluster.status))
    outcome = cluster.look()
    assert (cluster.one.objects, cluster.pods, cluster.status) == before
    assert (outcome.patch, outcome.delete, outcome.events) == ((), (), ())


def assert_the_update_serves_or_what_was_before(
    cluster: ClusterWithCards,
) -> None:
    update = cluster.status["updateRevision"]
    served = {pod["metadata"]["labels"]["berth.dev/revision"] for pod in cluster.serving}
    assert len(cluster.serving) == cluster.wanted
    if cluster.status["currentRevision"] == update:
        assert cluster.replicas == {update: cluster.wanted}
        return
    broken = cluster.one.cr["spec"]["runtime"]["maxModelLen"] == BROKEN
    if not cluster.wanted and "blockedRevision" not in cluster.status:  # to be tried on waking
        assert cluster.replicas == {update: 0, cluster.status["currentRevision"]: 0}
        return
    assert broken or cluster.status["blockedRevision"] == update  # its pods were crashed
    assert update not in served
    if "blockedRevision" in cluster.status:
        before = cluster.status["currentRevision"]
        assert cluster.replicas == {update: 0, before: cluster.wanted}


@pytest.mark.parametrize("spare", [0, 1, 3])
@settings(max_examples=25, deadline=None)
@given(replicas=st.integers(1, 4), happenings=st.lists(st.one_of(events, events), max_size=25))
def test_in_any_order_nothing_is_cut_and_one_revision_ends_with_all_replicas(
    spare: int, replicas: int, happenings: list[tuple[str, Any]]
) -> None:
    cluster = serving(4 + spare, replicas)
    cluster.broken = {BROKEN}
    for kind, value in happenings:
        happen(cluster, kind, value)
        look(cluster)
    settle(cluster)
    assert_the_update_serves_or_what_was_before(cluster)
    assert_at_rest(cluster)


@settings(max_examples=25, deadline=None)
@given(replicas=st.integers(1, 4), happenings=st.lists(st.one_of(events, events), max_size=25))
def test_where_every_accelerator_is_taken_too(
    replicas: int, happenings: list[tuple[str, Any]]
) -> None:
    cluster = serving(replicas, replicas)
    cluster.broken = {BROKEN}
    for kind, value in happenings:
        if kind != "scale" or value <= replicas:
            happen(cluster, kind, value)
        look(cluster)
    settle(cluster)
    assert_the_update_serves_or_what_was_before(cluster)
    assert_at_rest(cluster)


@settings(max_examples=25, deadline=None)
@given(happenings=st.lists(events, max_size=15))
@example([("update", 4096), ("start", 3), ("kill", 0), ("kill", 0)])
@example([("update", 4096), ("scale", 0), ("scale", 3)])
@example([*(("update", value) for value in (BROKEN, 4096, BROKEN)), ("wait", 11.0), ("scale", 3)])
def test_a_second_look_at_the_same_moment_changes_nothing(
    happenings: list[tuple[str, Any]],
) -> None:
    cluster = serving(4, 2)
    cluster.broken = {BROKEN}
    for kind, value in happenings:
        happen(cluster, kind, value)
        cluster.look(react=False)
        before = without_places(cluster)
        outcome = cluster.look()
        assert (outcome.patch, outcome.delete) == ((), ())
        assert without_places(cluster) == before


def without_places(cluster: ClusterWithCards) -> dict[Any, Any]:
    """A look that takes a drained pod back leaves to the next since when a place is free."""
    objects = copy.deepcopy(cluster.one.objects)
    for one in objects.values():
        annotations = one["metadata"].get("annotations", {})
        if ANNOTATION_PLACE in annotations:
            annotations[ANNOTATION_PLACE] = "since some time"
    return objects
