from datetime import timedelta
from typing import Any

import builders
import pytest
from fakes.cluster import FakeCluster, Fault

from berth_operator.cluster.warnings import FRESH_SECONDS, WarningReader, wanted
from berth_operator.core.observed import Children
from berth_operator.errors import Denied

NOW = builders.NOW


def created(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat()


def deployment(seconds_ago: float = 60, *, asked: int = 1, made: int = 0) -> dict[str, Any]:
    metadata = {"name": "smol-1", "creationTimestamp": created(seconds_ago)}
    return {"metadata": metadata, "spec": {"replicas": asked}, "status": {"replicas": made}}


def job(**status: int) -> dict[str, Any]:
    metadata = {"name": "smol-shape", "creationTimestamp": created(60)}
    return {"metadata": metadata, "spec": {"parallelism": 1}, "status": status}


def pod(seconds_ago: float, *, ready: bool) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"creationTimestamp": created(seconds_ago)},
        "status": {"conditions": [condition]},
    }


def event(about: str, message: str, at: str = "2026-01-02T03:00:00Z") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about}.{message}", "namespace": "team"},
        "type": "Warning",
        "involvedObject": {"name": about},
        "message": message,
        "lastTimestamp": at,
    }


@pytest.mark.parametrize(
    ("children", "pods", "expected"),
    [
        (Children(), (), False),
        (Children(deployments=(deployment(made=1),)), (pod(60, ready=True),), False),
        (Children(deployments=(deployment(made=1),)), (pod(5, ready=False),), False),
        (Children(deployments=(deployment(made=1),)), (pod(60, ready=False),), True),
        (Children(deployments=(deployment(5),)), (), False),
        (Children(deployments=(deployment(),)), (), True),
        (Children(deployments=(deployment(asked=0),)), (), False),
        (Children(jobs=(job(active=1),)), (), False),
        (Children(jobs=(job(succeeded=1),)), (), False),
        (Children(jobs=(job(),)), (), True),
    ],
)
def test_events_are_read_only_for_pods_that_do_not_come_up(
    children: Children, pods: tuple[Any, ...], *, expected: bool
) -> None:
    assert wanted(children, pods, NOW) is expected


async def test_warnings_about_the_children_and_their_pods_come_oldest_first() -> None:
    cluster = FakeCluster()
    cluster.put(event("smol-1-abc-x", "mount", at="2026-01-02T03:00:09Z"))
    cluster.put(event("smol-1-abc", "quota", at="2026-01-02T03:00:01Z"))
    cluster.put(event("smol-10-abc", "of another model"))
    cluster.put(event("smol-1", "usual") | {"type": "Normal"})
    reader = WarningReader(cluster, clock=lambda: 0)
    found = await reader.read("team", Children(deployments=(deployment(),)), (), NOW)
    assert [one["message"] for one in found] == ["quota", "mount"]


async def test_one_list_serves_all_models_of_a_namespace_for_a_while() -> None:
    cluster, seconds = FakeCluster(), 0.0
    reader = WarningReader(cluster, clock=lambda: seconds)
    children = Children(deployments=(deployment(),))
    for _ in range(3):
        await reader.read("team", children, (), NOW)
    assert len(cluster.calls) == 1
    seconds = FRESH_SECONDS
    await reader.read("team", children, (), NOW)
    assert len(cluster.calls) == 2


async def test_without_the_right_to_read_events_there_is_less_to_say() -> None:
    cluster = FakeCluster(faults=[Fault(Denied("forbidden", status=403))])
    reader = WarningReader(cluster, clock=lambda: 0)
    assert await reader.read("team", Children(deployments=(deployment(),)), (), NOW) == ()
