"""What is kept of spec and status for people."""

import pytest

from berth_api.pool import PoolEngine
from berth_api.seat import Seat
from berth_api.spec import Spec
from berth_api.status import Status
from berth_gateway.routing.standing import Standing, seated, standing


def of(status: dict | None = None, **spec: object) -> Standing:
    read = Spec.model_validate({"model": {"source": "hf://organisation/model"}} | spec)
    return standing(read, Status.model_validate(status or {}))


def test_of_a_model_that_the_operator_has_not_seen_hardly_anything_is_known() -> None:
    found = of(scaling={"mode": "Auto"})

    assert found == Standing()


def test_it_keeps_how_far_a_model_is_and_why() -> None:
    status = {
        "progress": "43%",
        "message": "Loading 43 %",
        "replicas": 1,
        "readyReplicas": 0,
        "queue": {"depth": 7},
    }
    found = of(status, scaling={"mode": "Auto"}, keepAlive="1h")

    assert (found.progress, found.message, found.until) == ("43%", "Loading 43 %", "1h idle")
    assert (found.replicas, found.ready_replicas, found.queue_depth) == (1, 0, 7)


@pytest.mark.parametrize(
    ("spec", "fix"),
    [
        ({}, "set spec.replicas to 0"),
        ({"scaling": {"mode": "External"}}, "change its bounds"),
        ({"scaling": {"mode": "Auto", "minReplicas": 1}}, "set it to 0"),
        ({"scaling": {"mode": "Auto"}, "paused": True}, "set it to false"),
        ({"scaling": {"mode": "Auto"}}, ""),
    ],
)
def test_where_a_request_cannot_unload_it_says_what_can(spec: dict, fix: str) -> None:
    assert of(**spec).stays_because.endswith(fix)
    assert bool(of(**spec).stays_because) is bool(fix)


def test_a_model_in_a_pool_is_where_its_pool_is_and_may_always_be_unloaded() -> None:
    found = of({"replicas": 1}, pool="small", replicas=1)

    assert (found.processor, found.until, found.wanted_replicas) == ("pool small", "5m idle", None)
    assert found.stays_because == ""


def test_of_a_pools_model_the_pool_knows_its_place_its_share_and_until_when() -> None:
    before = of(pool="small", keepAlive="1h")
    engine = PoolEngine(
        id="e", models=["m"], state="Serving", reason="Idle", cards=[1], memory_bytes=20
    )
    found = seated(before, Seat("small", (engine,)))

    assert (before.processor, before.planned_bytes, before.wanted_replicas) == (
        "pool small", None, None,
    )  # fmt: skip
    assert (found.processor, found.planned_bytes, found.wanted_replicas) == (
        "GPU 1 of small",
        20,
        1,
    )
    assert found.until == "1h idle"


def test_a_pools_model_that_it_does_not_know_is_away() -> None:
    found = seated(of(pool="small"), Seat("small"))

    assert (found.processor, found.until, found.wanted_replicas) == ("pool small", None, 0)
