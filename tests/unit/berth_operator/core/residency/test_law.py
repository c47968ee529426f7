"""Who stays and who goes in a pool, rule by rule; numbers of pain points are `features.md` §3's."""

import itertools
import random
import time
from dataclasses import replace

import pytest
from fakes.engines_in_pods import (
    GIB,
    NOW,
    POLICY,
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
from berth_operator.core.residency.verdicts import Kept, Loads, Refused


def nobody() -> Demand:
    return Demand()


# Free room


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


def test_an_engine_goes_to_the_card_that_it_fills_best():
    told = Told(pool(engine("a"), pod("large", 24), pod("small", 10), a=held()))
    assert told.ordered("a") == ("small", (0,))


def test_two_engines_share_a_card_rather_than_open_another():
    told = Told(
        pool(engine("a", 4), engine("b", 4), pod("p", 10, 10), at("a", on="p"), a=busy(), b=held())
    )
    assert told.ordered("b") == ("p", (0,))


def test_ranks_are_never_split_over_pods():
    told = Told(
        pool(engine("a", cards=2), pod("one", 10), pod("other", 10), pod("pair", 10, 10), a=held())
    )
    assert told.ordered("a") == ("pair", (0, 1))


def test_room_that_is_free_now_comes_before_room_that_drains():
    draining = at("gone", on="p", state="Draining")
    told = Told(pool(engine("a"), engine("gone"), pod("p", 10, 11), draining, a=held()))
    assert told.ordered("a") == ("p", (1,))


def test_room_that_drains_is_claimed_where_there_is_no_other():
    told = Told(pool(engine("a"), engine("gone"), at("gone", state="Draining"), a=held()))
    assert told.ordered("a") == ("pod", (0,))
    assert told.leaves() == {"gone": ("Draining", None)}


def test_no_engine_is_loaded_beyond_the_number_that_a_pod_may_hold():
    policy = replace(POLICY, max_engines=1)
    observed = pool(engine("a", 1), engine("b", 1), at("a"), policy=policy, a=busy(), b=held())
    told = Told(observed)
    assert told.orders() == {"a"}
    assert Told(replace(observed, demand={"b": held()})).orders() == {"b"}


# Room of others


def test_an_idle_engine_makes_room_and_is_closed_at_once():
    told = Told(pool(engine("a"), engine("b"), at("a"), a=idle(), b=held()))
    assert told.orders() == {"b"}
    assert told.leaves() == {"a": ("Idle", "b")}
    assert told.why("b") == Loads("Held", instead_of=("a",))
    assert told.routed() == set()


def test_of_idle_ones_the_cheapest_to_bring_back_goes():
    things = [engine("dear", load_seconds=90), engine("cheap", load_seconds=9), engine("b")]
    room = [pod("pod", 10, 10), at("dear"), at("cheap", cards=(1,))]
    told = Told(pool(*things, *room, dear=idle(99), cheap=idle(9), b=held()))
    assert set(told.leaves()) == {"cheap"}


def test_of_equally_cheap_ones_the_least_recently_wanted_goes():
    things = [
        engine("a"),
        engine("b"),
        engine("c"),
        pod("pod", 10, 10),
        at("a"),
        at("b", cards=(1,)),
    ]
    assert set(Told(pool(*things, a=idle(9), b=idle(99), c=held())).leaves()) == {"b"}
    assert set(Told(pool(*things, a=idle(99), b=idle(9), c=held())).leaves()) == {"a"}


def test_one_dear_engine_stays_where_two_cheap_ones_make_the_room():
    things = [engine("dear", 8, load_seconds=60)]
    things += [engine(name, 4, load_seconds=20) for name in ("x", "y")]
    room = [pod("pod", 10, 10), at("dear"), at("x", cards=(1,)), at("y", cards=(1,))]
    told = Told(pool(*things, *room, engine("b"), dear=idle(), x=idle(), y=idle(), b=held()))
    assert set(told.leaves()) == {"x", "y"}
    assert told.ordered("b") == ("pod", (1,))


def test_no_more_go_than_the_room_needs():
    things = [engine(name, 3) for name in "xyz"]
    observed = pool(
        *things,
        engine("b", 4),
        *(at(name) for name in "xyz"),
        x=idle(1),
        y=idle(2),
        z=idle(3),
        b=held(),
    )
    assert len(Told(observed).leaves()) == 1


def test_both_cards_of_a_pair_are_freed_for_a_pair_of_ranks():
    things = [engine("x"), engine("y"), engine("pair", cards=2), pod("p", 10, 10)]
    room = [at("x", on="p"), at("y", on="p", cards=(1,))]
    told = Told(pool(*things, *room, x=idle(), y=idle(), pair=held()))
    assert told.ordered("pair") == ("p", (0, 1))
    assert set(told.leaves()) == {"x", "y"}


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"pinned_since": 1.0}, "Pinned"),
        ({"evictable": False}, "NotEvictable"),
        ({"priority": 1}, "Priority"),
    ],
)
def test_some_are_never_evicted_however_long_another_waits(changes, because):
    told = Told(pool(engine("a", **changes), engine("b"), at("a"), a=idle(), b=held(9999)))
    assert told.orders() == {"a"}
    assert (told.waits("b").because, told.waits("b").behind) == (because, ("a",))
    assert told.waits("b").until is None


def test_an_equal_priority_is_no_protection():
    things = [engine("a", priority=3), engine("b", priority=3)]
    assert Told(pool(*things, at("a"), a=idle(), b=held())).orders() == {"b"}


def test_of_idle_ones_the_least_important_goes_first():
    things = [engine("vip", priority=2, load_seconds=1), engine("any"), engine("b", priority=2)]
    room = [pod("pod", 10, 10), at("vip"), at("any", cards=(1,))]
    told = Told(pool(*things, *room, vip=idle(), any=idle(), b=held()))
    assert set(told.leaves()) == {"any"}


def test_nothing_is_swapped_before_its_minimum_residency_and_the_wait_has_its_time():
    told = Told(pool(engine("a"), engine("b"), at("a", ago=10), a=idle(), b=held()))
    assert told.orders() == {"a"}
    assert (told.waits("b").because, told.waits("b").until) == ("MinimumResidency", NOW + 20)
    assert told.again == 20


def test_a_clock_that_was_put_back_holds_no_one_longer_than_the_minimum():
    told = Told(pool(engine("a"), engine("b"), at("a", ago=-9999), a=idle(), b=held()))
    assert told.waits("b").until == NOW + 30


def test_one_that_loads_is_not_disturbed():
    loading = at("a", ago=5, state="Loading")
    told = Told(pool(engine("a"), engine("b"), loading, b=held(9999)))
    assert told.why("a") == Kept("Loading")
    wait = told.waits("b")
    assert (wait.because, wait.until, wait.expected) == ("Loading", None, NOW + 15 + 30)


def test_a_load_that_has_not_begun_and_that_nobody_wants_any_more_gives_way():
    waiting = at("a", state="Loading", withheld=0)
    told = Told(pool(engine("a"), engine("b"), waiting, b=held()))
    assert told.leaves() == {"a": ("GivesWay", "b")}


# Busy ones, and turns


def test_a_busy_engine_stays_while_another_waits_its_fair_turn():
    told = Told(pool(engine("a"), engine("b"), at("a"), a=busy(), b=held(20)))
    assert told.orders() == {"a"}
    assert (told.waits("b").because, told.waits("b").until) == ("Busy", NOW + 40)
    assert told.again == 40


def test_a_busy_engine_is_closed_for_one_that_has_waited_beyond_the_bound():
    told = Told(pool(engine("a"), engine("b"), at("a"), a=busy(), b=held(60)))
    assert told.leaves() == {"a": ("Starved", "b")}
    assert told.routed() == set()


def test_an_idle_one_is_evicted_before_a_busy_one_even_then():
    things = [engine("dear", load_seconds=900), engine("a"), engine("b")]
    room = [pod("pod", 10, 10), at("dear"), at("a", cards=(1,))]
    told = Told(pool(*things, *room, dear=idle(), a=busy(), b=held(999)))
    assert told.leaves() == {"dear": ("Idle", "b")}


def test_one_whose_own_requests_have_waited_longer_serves_them_first():
    observed = pool(engine("a"), engine("b"), at("a"), a=held(90), b=held(80))
    assert Told(observed).waits("b").because == "NotItsTurn"
    assert Told(replace(observed, demand={"a": held(70), "b": held(80)})).orders() == {"b"}


def test_beyond_the_bound_the_longest_wait_comes_first_whatever_the_priority():
    things = [engine("low"), engine("high", priority=9)]
    assert Told(pool(*things, low=held(70), high=held(65))).orders() == {"low"}
    assert Told(pool(*things, low=held(50), high=held(45))).orders() == {"high"}


def test_of_equal_priority_the_longer_wait_comes_first():
    assert Told(pool(engine("a"), engine("b"), a=held(5), b=held(6))).orders() == {"b"}


def test_the_cards_of_one_beyond_the_bound_are_kept_for_it():
    """Or small ones that fit beside what it waits for would have it wait for ever."""
    things = [engine("pair", cards=2), engine("x"), engine("small"), pod("p", 10, 10)]
    observed = pool(*things, at("x", on="p", ago=5), x=idle(), pair=held(99), small=held(50))
    told = Told(observed)
    assert told.orders("p") == {"x"}
    assert told.waits("pair").because == "MinimumResidency"
    assert (told.waits("small").because, told.waits("small").behind) == ("Reserved", ("pair",))
    patient = replace(observed, demand={**observed.demand, "pair": held(50)})
    assert Told(patient).orders("p") == {"x", "small"}


def test_other_cards_of_the_pod_are_not_kept():
    things = [engine("big", 9), engine("x"), engine("small"), pod("p", 10, 10)]
    told = Told(
        pool(
            *things,
            pod("q", 8),
            at("x", on="p", ago=5),
            at("y", on="p", cards=(1,), ago=2),
            engine("y"),
            x=idle(),
            y=idle(),
            big=held(99),
            small=held(1),
        )
    )
    assert told.ordered("small") == ("q", (0,))


def test_a_b_a_a_c_is_served_with_two_swaps():
    """27: all of A's queue, then B, which came before C, then C."""
    a, b, c = (engine(name) for name in "abc")
    first = pool(a, b, c, at("a", ago=31), a=busy(), b=held(3), c=held(1))
    assert Told(first).orders() == {"a"}
    assert Told(replace(first, demand={"b": held(9), "c": held(7), "a": idle(1)})).orders() == {"b"}
    then = pool(a, b, c, at("b", ago=31), b=idle(2), c=held(45), a=nobody())
    assert Told(then).orders() == {"c"}


def test_an_engine_that_comes_back_at_once_does_not_thrash():
    """27: A B A; B has just come and is idle, and A waits for its minimum residency."""
    told = Told(pool(engine("a"), engine("b"), at("b", ago=1), b=idle(1), a=held(1)))
    assert told.orders() == {"b"}
    assert told.waits("a").until == NOW + 29


# Sharing, keep-alive, explicit orders


def test_models_that_share_an_engine_swap_nothing():
    """24: same weights are one engine, whatever the template."""
    shared = engine("a", models=("chat", "code"))
    assert Told(pool(shared, at("a"), a=busy())).routed() == {"a"}


def test_an_idle_engine_goes_when_its_keep_alive_is_over():
    observed = pool(engine("a", keep_alive_seconds=60.0), at("a"), a=idle(59))
    told = Told(observed)
    assert told.why("a") == Kept("Idle", NOW + 1)
    assert told.again == 1
    assert Told(replace(observed, demand={"a": idle(60)})).leaves() == {
        "a": ("KeepAliveOver", None)
    }


def test_a_keep_alive_of_zero_goes_as_soon_as_it_is_idle_even_in_its_minimum_residency():
    zero = engine("a", keep_alive_seconds=0.0)
    assert Told(pool(zero, at("a", ago=1), a=busy())).orders() == {"a"}
    assert Told(pool(zero, at("a", ago=1), a=idle(0))).orders() == set()


def test_a_keep_alive_counts_from_when_it_first_served():
    """14: a slow starter would be gone before it is of use."""
    told = Told(pool(engine("a", keep_alive_seconds=60.0), at("a", ago=1), a=idle(500)))
    assert told.orders() == {"a"}


def test_a_keep_alive_does_not_run_while_it_loads():
    loading = at("a", ago=900, state="Loading")
    assert Told(pool(engine("a", keep_alive_seconds=0.0), loading, a=idle(900))).orders() == {"a"}


def test_without_an_end_of_its_keep_alive_it_stays_until_its_room_is_wanted():
    observed = pool(engine("a", keep_alive_seconds=None), engine("b"), at("a"), a=idle(9e6))
    assert Told(observed).orders() == {"a"}
    assert Told(observed).again is None
    assert Told(replace(observed, demand={"a": idle(9e6), "b": held()})).orders() == {"b"}


def test_one_that_is_not_evictable_goes_by_its_own_keep_alive():
    told = Told(pool(engine("a", evictable=False, keep_alive_seconds=9.0), at("a"), a=idle(9)))
    assert told.orders() == set()


def test_a_pinned_one_stays_idle_for_ever():
    told = Told(pool(engine("a", pinned_since=1.0, keep_alive_seconds=0.0), at("a"), a=idle(9e6)))
    assert told.why("a") == Kept("Pinned")


def test_an_unloaded_one_goes_when_it_is_idle_and_not_before():
    observed = pool(engine("a", unload_asked=NOW), at("a", ago=1), a=busy())
    assert Told(observed).orders() == {"a"}
    assert Told(replace(observed, demand={"a": idle(1)})).leaves() == {"a": ("Unloaded", None)}


def test_whoever_asks_after_it_was_unloaded_has_it_stay():
    told = Told(pool(engine("a", unload_asked=NOW - 60), at("a"), a=idle(50)))
    assert told.orders() == {"a"}


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


def test_an_engine_that_no_model_uses_goes_when_it_is_idle():
    observed = pool(engine("a", models=()), at("a"), a=busy())
    assert Told(observed).orders() == {"a"}
    assert Told(replace(observed, demand={"a": idle(1)})).leaves() == {"a": ("Unused", None)}


def test_an_engine_that_the_pool_does_not_know_drains_and_goes():
    assert Told(pool(at("stranger"))).leaves() == {"stranger": ("Unknown", None)}


# What cannot be, and what failed


def test_an_engine_larger_than_every_card_is_refused_with_the_bytes_and_a_fix():
    refusal = Told(pool(engine("a", 16), pod("p", 10), a=held())).waits("a")
    assert refusal == Refused("a", 16 * GIB, 1, 10 * GIB, 1)
    assert (
        refusal.message
        == "needs 16.00 GiB of a card; the pool's largest have 10.00 GiB, 6.00 GiB too little"
    )
    assert refusal.fix.startswith("a share that is 6.00 GiB smaller")


def test_an_engine_of_more_ranks_than_a_pod_has_cards_is_refused():
    refusal = Told(pool(engine("a", cards=4), pod("p", 10, 10), pod("q", 10, 10))).waits("a")
    assert refusal.message == "needs 4 cards in one pod; the pool's have 2"
    assert refusal.fix == "tensor: 2, or a pool whose pods have 4 cards"


def test_a_pool_without_pods_refuses_nothing():
    told = Told(replace(pool(engine("a"), a=held()), pods=()))
    assert told.waits("a").because == "NoPod"


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


def test_a_failure_begins_the_wait_anew():
    things = [engine("a"), engine("b", blocked_until=NOW - 1), at("a")]
    assert Told(pool(*things, a=busy(), b=held(9999))).orders() == {"a"}


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


def test_an_engine_in_two_pods_stays_in_one():
    room = [pod("p", 10), pod("q", 10), at("a", on="p", ago=50), at("a", on="q", ago=90)]
    told = Told(pool(engine("a"), *room, a=busy()))
    assert told.ordered("a") == ("q", (0,))


def test_an_engine_whose_card_is_gone_leaves():
    told = Told(pool(engine("a"), at("a", cards=(3,)), a=busy()))
    assert told.leaves() == {"a": ("Oversized", None)}


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


def test_room_is_found_among_more_than_are_searched_exactly():
    things = [engine(f"e{number:02}", 1) for number in range(20)]
    there = [at(one.id, withheld=GIB) for one in things]
    demand = {one.id: idle(number + 1) for number, one in enumerate(things)}
    told = Told(pool(pod("pod", 20), *things, *there, engine("big", 15), **demand, big=held()))
    assert "big" in told.orders()
    assert len(told.leaves()) == 15


def test_the_set_of_victims_costs_no_more_than_any_other():
    rng = random.Random(7)
    for _ in range(60):
        sizes = {f"e{n}": rng.randint(1, 6) for n in range(6)}
        loads = {name: float(rng.randint(1, 9)) for name in sizes}
        cards, need = [24, 24], rng.randint(8, 22)
        on = {name: number % 2 for number, name in enumerate(sizes)}
        things = [engine(name, sizes[name], load_seconds=loads[name]) for name in sizes]
        there = [at(name, cards=(on[name],), withheld=sizes[name] * GIB) for name in sizes]
        demand = {name: idle(5) for name in sizes}
        told = Told(
            pool(pod("pod", *cards), *things, *there, engine("big", need), **demand, big=held())
        )
        used = {card: sum(sizes[n] for n in sizes if on[n] == card) for card in (0, 1)}
        least = min(
            sum(loads[name] for name in some)
            for count in range(7)
            for some in itertools.combinations(sizes, count)
            if any(
                cards[c] - used[c] + sum(sizes[n] for n in some if on[n] == c) >= need
                for c in (0, 1)
            )
        )
        assert sum(loads[name] for name in told.leaves()) == least


def test_a_large_pool_is_decided_quickly():
    observed = crowded(3, engines=200, pods=16)
    began = time.process_time()
    observed = carried_out(observed, decide(observed))
    decide(observed)
    assert time.process_time() - began < 3.0
