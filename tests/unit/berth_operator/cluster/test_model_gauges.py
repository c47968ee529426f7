from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache
from berth_operator.cluster.model_gauges import ModelGauges


def registry(spec: dict[str, Any], status: dict[str, Any]) -> CollectorRegistry:
    cache, found = Cache(), CollectorRegistry()
    metadata = {"name": "smol", "namespace": "team", "uid": "m", "resourceVersion": "1"}
    cache.upsert(kinds.MODEL, {"metadata": metadata, "spec": spec, "status": status})
    found.register(ModelGauges(cache))
    return found


def value(found: CollectorRegistry, name: str, **labels: str) -> float | None:
    return found.get_sample_value(
        f"berth_model_{name}", {"namespace": "team", "model": "smol"} | labels
    )


def test_replicas_are_told_by_whether_they_serve() -> None:
    found = registry({"replicas": 3}, {"replicas": 3, "readyReplicas": 2})
    assert value(found, "replicas", state="ready") == 2
    assert value(found, "replicas", state="unready") == 1


def test_a_model_without_a_status_has_no_replica_and_wants_one() -> None:
    found = registry({}, {})
    assert value(found, "replicas", state="ready") == 0
    assert value(found, "replicas", state="unready") == 0
    assert value(found, "desired_replicas") == 1


@pytest.mark.parametrize(
    ("status", "expected"), [({}, 3), ({"scaling": {"desiredReplicas": 0}}, 0)]
)
def test_desired_is_what_was_decided_and_else_what_was_asked_for(
    status: dict[str, Any], expected: int
) -> None:
    assert value(registry({"replicas": 3}, status), "desired_replicas") == expected


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, None),
        ({"currentRevision": "a", "updateRevision": "a"}, None),
        ({"updateRevision": "a"}, None),
        ({"currentRevision": "a", "updateRevision": "b"}, "running"),
        ({"currentRevision": "a", "updateRevision": "b", "blockedRevision": "b"}, "blocked"),
    ],
)
def test_a_roll_out_is_told_while_it_runs_and_when_it_is_blocked(
    status: dict[str, Any], state: str | None
) -> None:
    found = registry({}, status)
    for one in ("running", "blocked"):
        assert value(found, "rollouts", state=one) == (one == state)


def test_a_standby_tells_of_no_model() -> None:
    found = CollectorRegistry()
    found.register(ModelGauges(Cache()))
    assert [sample for family in found.collect() for sample in family.samples] == []


def test_a_scrape_that_asks_for_others_by_name_reads_no_model() -> None:
    class Unread(Cache):
        def models(self) -> tuple[Any, ...]:
            raise AssertionError("read")

    found = CollectorRegistry()
    found.register(ModelGauges(Unread()))
    assert list(found.restricted_registry(["another_metric"]).collect()) == []


def test_a_scrape_that_asks_for_one_of_them_has_that_one() -> None:
    found = registry({"replicas": 3}, {}).restricted_registry(["berth_model_desired_replicas"])
    assert [one.name for one in found.collect()] == ["berth_model_desired_replicas"]
