"""Which pods go, and what each goes through before it may."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import builders
import pytest
from fakes.cluster import merge_patched

from berth_api import names
from berth_api.server import Phase, PodStatus
from berth_operator.core.kubernetes import is_routed
from berth_operator.core.observed import Load, Pod
from berth_operator.core.rollout.draining import (
    ANNOTATION_COST,
    ANNOTATION_IDLE,
    LOWEST_COST,
    Resize,
    resize,
)

TIMEOUT = timedelta(seconds=300)


def pod(name: str, *, ready: bool = True, idle: bool = True, made: int = 0, **more: Any) -> Pod:
    """Made so many seconds after the others; `idle` is what it says of itself."""
    found = builders.engine_pod("r1", ready=ready, name=name, **more)
    found["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:{made:02}Z"
    return Pod(found, PodStatus(phase=Phase.SERVING, in_flight=0 if idle else 3))


class Deployed:
    """One Deployment's pods, their clock, and the gateways' counts."""

    def __init__(self, *pods: Pod, complete: bool = True, **in_flight: int) -> None:
        self.pods = list(pods)
        self.asked = len(pods)
        self.seconds = 0.0
        self.load = Load(in_flight={f"uid-{n}": c for n, c in in_flight.items()}, complete=complete)

    def to(self, target: int, *, after: float = 0.0) -> Resize:
        """One step towards the size, carried out."""
        self.seconds += after
        now = builders.NOW + timedelta(seconds=self.seconds)
        observed = builders.observed(now=now, load=self.load)
        found = resize(observed, self.pods, asked=self.asked, target=target, timeout=TIMEOUT)
        changes = {patch.name: patch.changes for patch in found.patches}
        self.pods = [
            replace(one, object=merge_patched(one.object, changes.get(_name(one), {})))
            for one in self.pods
        ]
        self.asked = found.replicas
        return found

    @property
    def open(self) -> list[str]:
        return [_name(one) for one in self.pods if is_routed(one.object)]

    def marks(self, name: str) -> dict[str, str]:
        found = next(one for one in self.pods if _name(one) == name)
        marks: dict[str, str] = found.object["metadata"].get("annotations", {})
        return marks


def _name(one: Pod) -> str:
    name: str = one.object["metadata"]["name"]
    return name


def test_a_pod_leaves_the_endpoints_then_is_idle_twice_then_goes() -> None:
    one = Deployed(pod("a"), pod("b"))
    first = one.to(1)
    assert (one.open, first.replicas, first.draining) == (["a"], 2, ("uid-b",))
    second = one.to(1, after=1.0)
    assert second.replicas == 2
    assert one.marks("b")[ANNOTATION_COST] == LOWEST_COST
    third = one.to(1, after=1.0)
    assert (third.replicas, third.patches) == (1, ())


@pytest.mark.parametrize("after", [0.0, 0.9])
def test_two_looks_in_one_second_are_one(after: float) -> None:
    one = Deployed(pod("a"), pod("b"))
    one.to(1)
    one.to(1, after=1.0)
    again = one.to(1, after=after)
    assert (again.replicas, again.patches) == (2, ())


def test_a_busy_pod_is_waited_for_until_its_time_is_over() -> None:
    one = Deployed(pod("a"), pod("b"), b=1, a=1)
    one.to(1)
    assert one.to(1, after=299.0).replicas == 2
    assert one.marks("b").get(ANNOTATION_COST) is None
    assert one.to(1, after=1.0).replicas == 2
    assert one.to(1, after=1.0).replicas == 1


@pytest.mark.parametrize(
    ("busy", "load"),
    [
        (pod("b", idle=False), Load(complete=True)),
        (pod("b"), Load(complete=True, in_flight={"uid-b": 1})),
        (pod("b"), Load(complete=True, engines={"uid-b": 1})),
        (replace(pod("b"), report=None), Load(complete=True)),
        (pod("b"), Load()),
    ],
    ids=["the pod", "a gateway", "the engine", "the pod is silent", "a gateway is silent"],
)
def test_whoever_may_know_of_a_request_is_believed(busy: Pod, load: Load) -> None:
    one = Deployed(busy)
    one.load = load
    for _ in range(5):
        assert one.to(0, after=1.0).replicas == 1


def test_without_any_gateway_the_pod_alone_is_believed() -> None:
    one = Deployed(pod("a"), pod("b"))
    one.load = Load(overdue=True)
    assert [one.to(1, after=1.0).replicas for _ in range(3)] == [2, 2, 1]


def test_a_request_after_all_takes_the_mark_away() -> None:
    one = Deployed(pod("a"), pod("b"))
    one.to(1)
    one.to(1, after=1.0)
    one.load = Load(complete=True, in_flight={"uid-b": 1})
    assert one.to(1, after=1.0).replicas == 2
    assert ANNOTATION_IDLE not in one.marks("b")
    assert ANNOTATION_COST not in one.marks("b")


def test_when_demand_comes_back_the_pod_takes_requests_again() -> None:
    one = Deployed(pod("a"), pod("b"))
    one.to(1)
    one.to(1, after=1.0)
    back = one.to(2, after=0.5)
    assert (one.open, back.replicas, back.draining) == (["a", "b"], 2, ())
    assert one.marks("b") == {}


def test_several_pods_drain_at_once_and_each_goes_when_it_is_idle() -> None:
    one = Deployed(*(pod(name) for name in "abcd"), c=1)
    first = one.to(1)
    assert len(first.draining) == 3
    one.load = Load(complete=True, in_flight={"uid-c": 1, "uid-a": 1})
    one.to(1, after=1.0)
    assert one.to(1, after=1.0).replicas == 2 + (len(first.draining) - 3)
    assert ANNOTATION_COST not in one.marks("c")


def test_the_order_is_unplaced_unready_idle_and_new() -> None:
    waiting = pod("waiting", ready=False)
    del waiting.object["spec"]["nodeName"]
    pods = [
        pod("old"),
        pod("new", made=9),
        pod("busy", made=9),
        pod("starting", ready=False),
        waiting,
    ]
    gone = []
    for target in (4, 3, 2, 1):
        one = Deployed(*pods, busy=2)
        found = one.to(target)
        if found.patches:
            gone = [patch.name for patch in found.patches]
        else:
            assert found.replicas == target  # those that serve nobody go at once
    assert gone == ["new", "old"]


def test_the_pod_that_drains_already_goes_on_draining() -> None:
    one = Deployed(pod("a"), pod("b"), a=0, b=0)
    one.to(1)
    one.load = Load(complete=True, in_flight={"uid-b": 5})
    assert one.to(1, after=1.0).patches == ()
    assert one.open == ["a"]


def test_a_pod_that_falls_ill_goes_instead_of_the_one_that_drains() -> None:
    one = Deployed(pod("a"), pod("b"))
    one.to(1)
    one.pods[0] = pod("a", ready=False)
    found = one.to(1, after=1.0)
    assert (found.replicas, one.open) == (1, ["a", "b"])


def test_the_last_replica_drains_like_any_other() -> None:
    one = Deployed(pod("a"))
    assert [one.to(0, after=1.0).replicas for _ in range(3)] == [1, 1, 0]


def test_a_victim_that_someone_deleted_is_not_counted_twice() -> None:
    one = Deployed(pod("a"), pod("b"), pod("c"))
    one.to(2)
    one.pods = [one.pods[0], one.pods[1]]  # c, which drained, is on its way out
    found = one.to(2, after=1.0)
    assert (found.replicas, found.patches) == (2, ())


def test_pods_that_are_not_made_yet_are_simply_not_asked_for() -> None:
    one = Deployed(pod("a"))
    one.asked = 3
    assert one.to(1).replicas == 1
    one.asked = 1
    assert one.to(4).replicas == 4


@pytest.mark.parametrize("since", ["yesterday", "", "2026-01-02", "9"])
def test_a_time_that_someone_wrote_by_hand_is_written_anew(since: str) -> None:
    one = Deployed(pod("a"), pod("b"))
    one.pods[1].object["metadata"]["annotations"] = {names.ANNOTATION_DRAINING: since}
    (patch,) = one.to(1).patches
    assert patch.changes["metadata"]["annotations"][names.ANNOTATION_DRAINING].endswith("Z")


def test_a_mark_from_the_future_is_written_anew_and_the_drain_goes_on() -> None:
    one = Deployed(pod("a"), pod("b"))
    one.to(1)
    one.seconds -= 3600  # the clock was put back
    assert len(one.to(1).patches) == 1
    one.to(1, after=1)
    assert one.to(1, after=1).replicas == 1


def test_an_idle_mark_from_the_future_is_written_anew_too() -> None:
    one = Deployed(pod("a"), pod("b"))
    one.to(1)
    one.to(1, after=1)
    one.seconds -= 3600
    for _ in range(2):
        assert one.to(1, after=1).replicas == 2
    assert one.to(1, after=1).replicas == 1


def test_a_pod_that_someone_took_aside_is_not_put_back() -> None:
    one = Deployed(pod("a"), pod("b"))
    del one.pods[0].object["metadata"]["labels"][names.LABEL_ROUTE]
    assert one.to(2).patches == ()
    assert one.to(1).draining == ("uid-a",)
