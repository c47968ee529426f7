"""Stored revisions that cannot be read: nothing that runs is touched, and it is said."""

import copy
from typing import Any

import pytest
from fakes.cluster_of_one import ClusterOfOne, serving
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core import revision
from berth_operator.core.outcome import Outcome


def stored(cluster: ClusterOfOne) -> dict[str, Any]:
    (found,) = cluster.kind("ControllerRevision")
    return copy.deepcopy(found)


def store(cluster: ClusterOfOne, changed: dict[str, Any]) -> None:
    cluster.objects["ControllerRevision", changed["metadata"]["name"]] = changed


def without(name: str) -> dict[str, Any]:
    """A cluster's revision whose plan has not that field."""
    found = stored(serving())
    del found["data"]["plan"][name]
    return found


def unreadable(cluster: ClusterOfOne) -> str:
    """Makes the stored revision so, as a renamed field of the plan does; its name."""
    changed = stored(cluster)
    changed["data"]["plan"]["tensorParallel"] = changed["data"]["plan"].pop("tensorParallelSize")
    store(cluster, changed)
    name: str = changed["metadata"]["name"]
    return name


def told(outcome: Outcome) -> list[str]:
    return [event.reason for event in outcome.events]


def progress(cluster: ClusterOfOne) -> str:
    found = next(c for c in cluster.cr["status"]["conditions"] if c["type"] == "Progressing")
    message: str = found["message"]
    return message


READ = revision.from_object(stored(serving()))
WHOLE = stored(serving())
LEAVES = [
    ("data", *path)
    for path in (
        (), ("specHash",), ("source",), ("shape",), ("plan",), ("template",), ("template", "spec"),
        *(("plan", name) for name in WHOLE["data"]["plan"]),
    )
]  # fmt: skip


def test_what_is_stored_is_read_as_it_was() -> None:
    assert READ is not None
    assert READ.name == WHOLE["metadata"]["labels"]["berth.dev/revision"]
    assert READ.plan.wire() == WHOLE["data"]["plan"]


@pytest.mark.parametrize("name", ["kvBytesPerToken", "kvCacheTokens", "explain", "fits"])
def test_what_only_people_read_may_be_missing(name: str) -> None:
    assert revision.from_object(without(name)) is not None


@pytest.mark.parametrize("name", ["tensorParallelSize", "weightsBytes", "accelerator", "image"])
def test_what_is_compared_later_is_not_guessed(name: str) -> None:
    assert revision.from_object(without(name)) is None


@given(
    st.sampled_from(LEAVES),
    st.none() | st.integers(-1, 1) | st.just("x") | st.just([]) | st.just({}),
)
def test_no_edit_is_worse_than_unreadable(path: tuple[str, ...], value: Any) -> None:
    changed = copy.deepcopy(WHOLE)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    revision.from_object(changed)
    revision.lost([changed], "another")
    cluster = serving()
    store(cluster, changed)
    cluster.step()
    assert len(cluster.kind("Deployment")) == 1


def test_the_plan_of_this_spec_is_not_made_anew_and_what_runs_is_held() -> None:
    cluster = serving()
    name = unreadable(cluster)
    before = dict(cluster.objects)
    outcome = cluster.step()
    assert (outcome.apply, outcome.delete) == ((), ())
    assert cluster.objects == before
    status = cluster.cr["status"]
    assert (status["phase"], status["reason"]) == ("Serving", "RevisionUnreadable")
    assert f"delete ControllerRevision {name}" in status["message"]
    assert told(outcome) == ["RevisionUnreadable"]
    assert told(cluster.step()) == []


def test_once_it_is_deleted_the_model_is_planned_anew() -> None:
    cluster = serving()
    name = unreadable(cluster)
    cluster.step()
    del cluster.objects["ControllerRevision", name]
    cluster.step()
    cluster.read_shape()
    cluster.step()
    assert cluster.cr["status"]["reason"] == "Serving"
    assert revision.from_object(stored(cluster)) is not None


def test_one_that_does_not_tell_its_spec_may_be_of_this() -> None:
    cluster = serving()
    changed = stored(cluster)
    del changed["data"]["specHash"]
    store(cluster, changed)
    cluster.step()
    assert cluster.cr["status"]["reason"] == "RevisionUnreadable"


def test_another_spec_is_planned_beside_it_and_takes_its_place_once_it_serves() -> None:
    cluster = serving()
    name, old = unreadable(cluster), stored(cluster)
    cluster.change(runtime={"maxModelLen": 4096})
    cluster.step()
    cluster.read_shape()
    cluster.settle()
    assert {one["metadata"]["name"] for one in cluster.kind("Deployment")} >= {name}
    assert len(cluster.kind("Deployment")) == 2
    assert f"{name} cannot be read" in progress(cluster)
    numbers = [one["revision"] for one in cluster.kind("ControllerRevision")]
    assert sorted(numbers) == [old["revision"], old["revision"] + 1]
    cluster.serve(cluster.cr["status"]["updateRevision"], name="new")
    cluster.drain()
    assert [one["metadata"]["name"] for one in cluster.kind("Deployment")] != [name]
    assert len(cluster.kind("Deployment")) == 1
    assert "cannot be read" not in progress(cluster)


def test_an_older_plan_of_the_spec_that_cannot_be_read_stops_nothing() -> None:
    cluster = serving()
    older = stored(cluster)
    newer = copy.deepcopy(older)
    newer["revision"] += 1
    older["metadata"] |= {"name": "older", "labels": {}}
    older["data"]["plan"] = {}
    store(cluster, older)
    store(cluster, newer)
    cluster.settle()
    assert cluster.cr["status"]["reason"] == "Serving"
