"""Where a model of a pool is: the engine that people mean, and its place in words."""

import pytest
import terminal_world as world

from berth_api import seat
from berth_api.pool import PoolStatus


def status(*engines):
    return PoolStatus.model_validate({"engines": list(engines)})


def engine(state, id_="a1", **more):
    return world.ENGINE | {"id": id_, "state": state} | more


def test_of_a_roll_outs_two_engines_the_one_that_serves_is_meant():
    told = status(engine("Loading", "b2"), engine("Serving", "a1"), world.WANTED)
    found = seat.seats("small", told)["mistral"]
    assert [one.id for one in found.engines] == ["a1", "b2"]
    assert found.engine.id == "a1"


@pytest.mark.parametrize(
    ("state", "held", "wanted"),
    [
        ("Serving", True, 1),
        ("Loading", True, 1),
        ("Draining", True, 1),
        ("Waiting", False, 1),
        ("Failed", False, 1),
        ("Refused", False, 1),
        ("Absent", False, 0),
    ],
)
def test_what_takes_room_is_held_and_what_is_not_absent_is_wanted(state, held, wanted):
    found = seat.seats("small", status(engine(state)))["mistral"]
    assert (found.held is not None, found.wanted) == (held, wanted)


@pytest.mark.parametrize(
    ("told", "device", "said"),
    [
        (engine("Serving", cards=[0, 1]), "cuda", "GPU 0,1 of small"),
        (engine("Serving", cards=[]), "cpu", "CPU of small"),
        (engine("Loading", cards=[]), None, "pool small"),
        (engine("Waiting", cards=[]), "cpu", "pool small"),
    ],
)
def test_a_place_is_the_cards_that_it_has_in_its_pool(told, device, said):
    assert seat.place(seat.seats("small", status(told))["mistral"], device) == said


def test_a_pool_that_is_not_there_is_told_with_the_fix():
    found = seat.find("large", "mistral", {"small": seat.seats("small", status(world.ENGINE))})
    assert found.engine is None
    assert found.fault == (
        "there is no ModelPool large in its namespace; create it, or change spec.pool"
    )


def test_a_pool_that_does_not_know_the_model_has_no_engine_of_it():
    found = seat.find("small", "llama", {"small": seat.seats("small", status(world.ENGINE))})
    assert (found.engines, found.fault, found.wanted) == ((), "", 0)
