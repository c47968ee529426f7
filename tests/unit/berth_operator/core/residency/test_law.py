"""What a pool is to hold, as a whole; numbers of pain points are `features.md` §3's."""

import random
import time
from dataclasses import replace

from fakes.engines_in_pods import (
    GIB,
    NOW,
    Told,
    at,
    busy,
    carried_out,
    engine,
    held,
    idle,
    pod,
    pool,
)

from berth_operator.core.residency.law import decide
from berth_operator.core.residency.pool import Demand
from berth_operator.core.residency.verdicts import Kept, Loads

# Loads


def test_a_wanted_engine_is_loaded_into_free_room():
    told = Told(pool(engine("a"), a=held()))
    assert told.ordered("a") == ("pod", (0,))
    assert told.why("a") == Loads("Held")


def test_nobody_is_loaded_whom_nobody_wants():
    assert Told(pool(engine("a"))).orders() == set()


def test_a_pinned_engine_is_loaded_before_anybody_asks_for_it():
    assert Told(pool(engine("a", pinned_since=NOW))).why("a") == Loads("Pinned")


def test_an_engine_that_loads_is_not_sent_requests_before_it_serves():
    told = Told(pool(engine("a"), engine("b", 1), at("a"), pod("pod", 10), a=busy(), b=held()))
    assert told.orders() == {"a", "b"}
    assert told.routed() == {"a"}


def test_an_idle_engine_makes_room_and_is_closed_at_once():
    told = Told(pool(engine("a"), engine("b"), at("a"), a=idle(), b=held()))
    assert told.orders() == {"b"}
    assert told.leaves() == {"a": ("Idle", "b")}
    assert told.why("b") == Loads("Held", instead_of=("a",))
    assert told.routed() == set()


def test_models_that_share_an_engine_swap_nothing():
    """24: same weights are one engine, whatever the template."""
    shared = engine("a", models=("chat", "code"))
    assert Told(pool(shared, at("a"), a=busy())).routed() == {"a"}


def test_a_b_a_a_c_is_served_with_two_swaps():
    """27: all of A's queue, then B, which came before C, then C."""
    a, b, c = (engine(name) for name in "abc")
    first = pool(a, b, c, at("a", ago=31), a=busy(), b=held(3), c=held(1))
    assert Told(first).orders() == {"a"}
    assert Told(replace(first, demand={"b": held(9), "c": held(7), "a": idle(1)})).orders() == {"b"}
    then = pool(a, b, c, at("b", ago=31), b=idle(2), c=held(45), a=Demand())
    assert Told(then).orders() == {"c"}


def test_an_engine_that_comes_back_at_once_does_not_thrash():
    """27: A B A; B has just come and is idle, and A waits for its minimum residency."""
    told = Told(pool(engine("a"), engine("b"), at("b", ago=1), b=idle(1), a=held(1)))
    assert told.orders() == {"b"}
    assert told.waits("a").until == NOW + 29


# Back again


def test_one_that_drains_is_taken_back_rather_than_loaded_anew():
    told = Told(pool(engine("a"), at("a", state="Draining"), a=held()))
    assert told.why("a") == Loads("Held", undrained=True)
    assert told.leaves() == {}


def test_one_whose_room_was_given_away_is_not_taken_back():
    new = at("b", state="Loading", withheld=0, ago=1)
    told = Told(
        pool(engine("a"), engine("b"), at("a", state="Draining"), new, a=held(5), b=held(70))
    )
    assert told.orders() == {"b"}


def test_a_pod_is_not_told_to_load_what_still_drains_on_its_other_cards():
    room = [pod("p", 10, 10), at("a", on="p", state="Draining"), at("b", on="p")]
    told = Told(pool(engine("a"), engine("b"), *room, a=held(), b=busy()))
    assert told.orders("p") == {"b"}
    assert told.waits("a").because == "Draining"


# Roll-outs


def old_and_new(**changes):
    old = engine("old", models=())
    return old, engine("new", **{"models": ("m",), "supersedes": "old", **changes})


def test_a_new_engine_loads_beside_the_old_one_which_serves_on():
    told = Told(pool(*old_and_new(), pod("p", 20), at("old", on="p"), old=busy()))
    assert told.orders("p") == {"old", "new"}
    assert told.why("new") == Loads("RollOut")
    assert told.routed() == {"old"}


def test_the_old_engine_is_closed_when_the_new_one_serves():
    room = [pod("p", 20), at("old", on="p"), at("new", on="p", ago=0)]
    told = Told(pool(*old_and_new(), *room, old=busy()))
    assert told.routed() == {"new"}
    assert told.leaves() == {"old": ("Superseded", None)}


def test_the_old_engine_makes_room_for_the_new_one_busy_or_just_loaded():
    told = Told(pool(*old_and_new(), at("old", ago=1), old=busy()))
    assert told.leaves() == {"old": ("GivesWay", "new")}


def test_a_roll_out_takes_the_old_ones_room_rather_than_an_idle_strangers():
    room = [pod("p", 10, 10), at("old", on="p"), at("x", on="p", cards=(1,))]
    told = Told(pool(*old_and_new(), engine("x", load_seconds=0.0), *room, old=busy(), x=idle()))
    assert told.leaves() == {"old": ("GivesWay", "new")}


def test_an_engine_that_another_model_still_uses_does_not_give_way():
    shared = engine("old", models=("other",))
    told = Told(pool(shared, engine("new", supersedes="old"), at("old"), old=busy()))
    assert told.orders() == {"old"}


def test_a_roll_out_never_closes_a_strangers_busy_engine():
    room = [pod("p", 10, 10), at("old", on="p"), at("x", on="p", cards=(1,))]
    told = Told(pool(*old_and_new(cards=2), engine("x"), *room, x=busy()))
    assert told.orders("p") == {"old", "x"}


def test_nothing_is_loaded_for_a_roll_out_of_a_model_that_is_not_resident():
    assert Told(pool(*old_and_new())).orders() == set()


def test_the_old_one_serves_on_while_the_new_one_has_failed():
    told = Told(pool(*old_and_new(blocked_until=NOW + 60), at("old"), old=busy()))
    assert told.routed() == {"old"}


def test_a_roll_out_over_one_that_never_served_goes_on_from_the_first():
    v1, v2 = engine("v1", models=()), engine("v2", models=(), supersedes="v1")
    v3 = engine("v3", supersedes="v2")
    room = [pod("p", 20), at("v1", on="p"), at("v2", on="p", state="Loading", withheld=0)]
    told = Told(pool(v1, v2, v3, *room, v1=busy()))
    assert told.orders("p") == {"v1", "v3"}


# Failures


def test_a_failed_load_is_not_tried_again_before_its_time():
    observed = pool(engine("a", blocked_until=NOW + 40), at("a", state="Failed"), a=held())
    told = Told(observed)
    assert told.orders() == set()
    assert (told.waits("a").because, told.waits("a").until, told.again) == ("BackOff", NOW + 40, 40)
    assert Told(pool(engine("a", blocked_until=NOW), a=held())).orders() == {"a"}


def test_a_failed_load_evicts_nobody_to_be_tried_again():
    """Ollama evicts all and tries once more; here its share is planned, and theirs were verified."""
    room = [pod("p", 20), at("x", on="p"), at("a", on="p", state="Failed")]
    told = Told(pool(engine("a", blocked_until=NOW + 40), engine("x"), *room, a=held(), x=idle()))
    assert told.orders("p") == {"x"}


def test_memory_that_a_failed_one_has_not_given_back_is_nobodys():
    """26: and 23."""
    stuck = at("dead", state="Failed", withheld=3 * GIB)
    told = Told(pool(engine("a"), engine("dead"), stuck, a=held()))
    assert told.orders() == set()
    assert Told(pool(engine("a", 7), engine("dead"), stuck, a=held())).orders() == {"a"}


# Pods that go


def test_engines_of_a_pod_that_goes_move_to_another():
    room = [pod("going", 10, terminating=True), pod("other", 10), at("a", on="going")]
    told = Told(pool(engine("a"), *room, a=held()))
    assert told.ordered("a") == ("other", (0,))
    assert told.orders("going") == set()
    assert told.leaves() == {"a": ("PodGone", None)}


def test_engines_of_a_lost_pod_are_loaded_elsewhere_when_they_are_wanted():
    observed = pool(engine("a"), engine("b"), at("a", on="lost"), at("b", on="lost"), a=held())
    assert Told(observed).orders() == {"a"}


def test_a_pod_that_is_not_ready_keeps_what_it_has_and_gets_nothing():
    frozen = pod("p", 20, ready=False)
    told = Told(pool(engine("a"), engine("b"), frozen, at("a", on="p"), a=idle(9e6), b=held()))
    assert told.orders("p") == {"a"}
    assert told.why("a") == Kept("PodNotReady")
    assert told.waits("b").because == "NoPod"


# Of every decision


def crowded(seed: int, engines: int = 40, pods: int = 8):
    """Some of everything at once."""
    rng = random.Random(seed)
    names = [f"e{number}" for number in range(engines)]
    made = [
        engine(
            name,
            rng.choice([2, 4, 8]),
            cards=rng.choice([1, 1, 2]),
            load_seconds=rng.uniform(5, 90),
        )
        for name in names
    ]
    rooms = [pod(f"p{number}", 20, 20, 20, 20) for number in range(pods)]
    demand = {
        name: rng.choice([idle(rng.uniform(1, 99)), busy(), held(rng.uniform(1, 120))])
        for name in names
    }
    return pool(*made, *rooms, **demand)


def test_the_order_of_what_is_observed_changes_nothing():
    settled = crowded(1)
    settled = carried_out(settled, decide(settled))
    for seed in range(5):
        rng = random.Random(seed)
        mixed = replace(
            settled,
            pods=tuple(rng.sample(settled.pods, len(settled.pods))),
            engines=tuple(rng.sample(settled.engines, len(settled.engines))),
            residents=tuple(rng.sample(settled.residents, len(settled.residents))),
        )
        assert decide(mixed) == decide(settled)


def test_a_large_pool_is_decided_quickly():
    observed = crowded(3, engines=200, pods=16)
    began = time.process_time()
    observed = carried_out(observed, decide(observed))
    decide(observed)
    assert time.process_time() - began < 3.0
