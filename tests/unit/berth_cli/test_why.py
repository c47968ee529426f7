"""`berth why`: the first thing of the chain that is not so, and all that is said about it."""

import json

import pytest
import terminal_world as world
from terminal_world import known

from berth_cli import why
from berth_cli.models import Asked
from berth_cli.report import Screen


def reason(cr, *pods, asked=None):
    return why.reason(known(cr, asked), pods)


def text(cr, *pods, asked=None):
    return why.as_text(reason(cr, *pods, asked=asked), Screen())


@pytest.mark.parametrize(
    ("cr", "waits_for"),
    [
        (world.SERVING, None),
        (world.IDLE, None),
        (world.LOADING, "RuntimeHealthy"),
        (world.UNPLACED, "Scheduled"),
        (world.REFUSED, "Planned"),
    ],
)
def test_a_model_waits_for_the_first_of_the_chain_that_is_not_so(cr, waits_for):
    found = reason(cr).waits_for
    assert (found and found.type) == waits_for


def test_a_paused_model_waits_for_whoever_paused_it():
    conditions = [
        world.condition("Ready", "False", "Paused"),
        world.condition("Planned", "False", "DoesNotFit"),
        world.condition("Paused", "True", "Paused"),
    ]
    assert reason(world.model("m", conditions=conditions)).waits_for.type == "Paused"


def test_a_model_that_nobody_has_seen_says_so():
    assert text(world.NEW) == "team-a/new: not yet seen by the operator, -\n\nRequests: -"


def test_the_scheduler_speaks_for_itself():
    found = text(world.UNPLACED, world.pod("gpt-oss-x", "gpt-oss", **world.UNSCHEDULED))
    assert "It waits for Scheduled: InsufficientGPU" in found
    assert "      0/3 nodes are available: 3 Insufficient nvidia.com/gpu." in found


def test_a_container_that_does_not_start_has_its_words():
    found = text(world.LOADING, world.pod("x", "llama-70b", **world.PULLING))
    assert "engine: ImagePullBackOff: no such image" in found


def test_what_does_not_fit_is_told_with_the_nearest_fixes():
    found = text(world.REFUSED)
    assert "What would help:\n  - set spec.runtime.maxModelLen to 32768 or less" in found
    assert found.count("weights 630 GiB") == 1


def test_the_last_failure_has_its_place_its_count_and_its_fix():
    found = " ".join(text(world.LOADING).split())
    assert (
        "Last failure of pod llama-70b-5c6d-x on node gpu-1, 2026-01-02T03:04:05Z, 3 times:"
        in found
    )
    assert " Fix: lower spec.memory.gpuMemoryFraction, or free the card" in found


def of_pool(cr, *engines):
    return why.as_text(why.reason(known(cr, None, *engines), ()), Screen())


def test_a_pools_model_tells_what_its_pool_says_of_it():
    found = of_pool(world.WAITING, world.WANTED | {"message": "mistral has to stay for 12 s"})
    assert (
        "Pool small:\n  engine 5f6a7b8c9d: Waiting, MinimumResidency; its share is 60.00 GiB\n"
        "      mistral has to stay for 12 s"
    ) in found


def test_what_the_operator_said_already_is_not_said_again():
    assert of_pool(world.WAITING, world.WANTED).count("may go at") == 1


def test_both_engines_of_a_roll_out_are_told_with_their_places():
    loading = world.ENGINE | {"id": "ffff", "state": "Loading", "phase": "Loading", "percent": 40}
    failed = {"blockedUntil": "2026-01-02T03:05:00Z", "state": "Failed", "id": "eeee", "reason": ""}
    found = " ".join(of_pool(world.POOLED, loading, world.ENGINE | failed, world.ENGINE).split())
    assert "engine 1a2b3c4d5e: Serving, Idle, in small-pool-1f-x on GPU 0;" in found
    assert "engine ffff: Loading Loading 40%, Idle, in small-pool-1f-x on GPU 0;" in found
    assert "It is tried again at 2026-01-02T03:05:00Z" in found


def test_a_pool_that_says_nothing_yet_is_said_to():
    assert "Pool small:\n  it says nothing of this model yet" in of_pool(world.WAITING)


def test_requests_that_wait_are_counted():
    found = text(world.LOADING, asked=Asked(1, 2, 14.2))
    assert found.endswith("Requests: 1 in flight, 2 held, the first for 14 s")


def test_it_is_one_screen():
    found = text(world.LOADING, world.pod("x", "llama-70b", **world.UNSCHEDULED), asked=Asked())
    assert len(found.splitlines()) <= 24
    assert all(len(line) <= 80 for line in found.splitlines())


def test_json_has_the_same():
    found = json.loads(why.as_json(reason(world.UNPLACED, asked=Asked(0, 1, 2.5))))
    assert (found["serves"], found["waitsFor"]) == (False, "Scheduled")
    assert next(one["type"] for one in found["conditions"]) == "Ready"
    assert (found["held"], found["oldestHeldSeconds"]) == (1, 2.5)
    assert found["lastFailure"] is None
