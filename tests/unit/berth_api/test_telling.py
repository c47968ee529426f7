"""What people are told of a model, at the terminal and on the gateway's page."""

import pytest
import terminal_world as world
from terminal_world import known

from berth_api import telling
from berth_api.status import Memories, Plan


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"device": "cpu", "tensor_parallel_size": 1}, "CPU"),
        ({"device": "cpu", "tensor_parallel_size": 2}, "2 x CPU"),
        ({"tensor_parallel_size": 8}, "8 x h100"),
        ({"tensor_parallel_size": 8, "pipeline_parallel_size": 2}, "2 nodes of 8 x h100"),
    ],
)
def test_a_processor_is_that_of_one_replica(plan, said):
    assert telling.processor(Plan.model_validate(world.PLAN).model_copy(update=plan)) == said


@pytest.mark.parametrize(
    ("measured", "count"),
    [
        (None, None),
        (Memories(), None),
        (Memories(weights_bytes=5), None),
        (Memories(weights_bytes=5, kv_cache_bytes=3), 8),
        (Memories(weights_bytes=5, kv_cache_bytes=3, activation_bytes=1, graph_bytes=2), 11),
        (Memories(weights_bytes=5, kv_cache_bytes=3, resident_bytes=20), 20),
    ],
)
def test_a_measure_without_its_large_parts_is_none(measured, count):
    assert telling.measured_bytes(measured) == count


@pytest.mark.parametrize(("spec", "said"), world.STAYS)
def test_how_long_a_model_stays_is_what_its_spec_says(spec, said):
    model = known(world.model("m", spec, replicas=1))
    assert telling.until(model.spec, model.status) == said


@pytest.mark.parametrize("spec", [{"scaling": {"mode": "Auto"}}, {"pool": "small"}])
def test_a_paused_model_goes_by_no_time(spec):
    model = known(world.model("m", spec | {"paused": True}, replicas=1))
    assert telling.until(model.spec, model.status) == "forever"


def test_where_nothing_runs_nothing_stays():
    model = known(world.model("m", replicas=0))
    assert telling.until(model.spec, model.status) is None


@pytest.mark.parametrize(
    ("spec", "status", "count"),
    [
        ({"replicas": 3}, {}, 3),
        ({"scaling": {"mode": "Auto"}}, {}, None),
        (
            {"scaling": {"mode": "Auto"}},
            {"scaling": {"desiredReplicas": 2, "targetQueueDepth": 4, "reason": "Backlog"}},
            2,
        ),
    ],
)
def test_who_decides_about_replicas_says_how_many_are_wanted(spec, status, count):
    model = known(world.model("m", spec, **status))
    assert telling.wanted(model.spec, model.status) == count
