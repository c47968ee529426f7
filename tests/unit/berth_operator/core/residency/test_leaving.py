"""Who goes although nobody wants its room."""

from dataclasses import replace

import pytest
from fakes.engines_in_pods import NOW, Told, at, busy, engine, held, idle, pod, pool

from berth_operator.core.residency.verdicts import Kept


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


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({"keep_alive_seconds": 0.0}, ()),
        ({"unload_asked": NOW}, ()),
        ({"models": ()}, ()),
        ({"models": ()}, (engine("new", 2, supersedes="a"), at("new"))),
    ],
)
def test_a_paused_one_is_left_where_it_is_and_nothing_is_due(changes, others):
    paused = engine("a", **changes, paused=True)
    told = Told(pool(paused, *others, at("a"), a=idle(9e6), new=busy()))
    assert told.why("a") == Kept("Paused")
    assert "a" in told.routed()
    assert told.again is None


def test_a_paused_one_keeps_its_room_where_a_card_has_become_too_small_for_all():
    things = [engine("a"), engine("b", paused=True), at("a", ago=900), at("b", ago=50)]
    assert Told(pool(*things, a=busy())).leaves() == {"a": ("Oversized", None)}


def test_a_paused_one_that_fails_or_whose_pod_goes_is_no_exception():
    paused = engine("a", paused=True)
    assert Told(pool(paused, at("a", state="Failed"))).leaves() == {"a": ("Failed", None)}
    gone = pod(terminating=True)
    assert Told(pool(paused, gone, at("a"))).leaves() == {"a": ("PodGone", None)}


def test_an_unloaded_one_goes_when_it_is_idle_and_not_before():
    observed = pool(engine("a", unload_asked=NOW), at("a", ago=1), a=busy())
    assert Told(observed).orders() == {"a"}
    assert Told(replace(observed, demand={"a": idle(1)})).leaves() == {"a": ("Unloaded", None)}


def test_whoever_asks_after_it_was_unloaded_has_it_stay():
    told = Told(pool(engine("a", unload_asked=NOW - 60), at("a"), a=idle(50)))
    assert told.orders() == {"a"}


def test_where_a_model_is_unloaded_in_a_roll_out_its_old_engine_goes_and_no_new_one_comes():
    new = engine("new", supersedes="old", unload_asked=NOW - 1)
    observed = pool(engine("old", models=()), new, at("old"), old=busy())
    assert (Told(observed).orders(), Told(observed).routed()) == ({"old"}, {"old"})
    told = Told(replace(observed, demand={"old": idle(1)}))
    assert (told.leaves(), told.orders()) == ({"old": ("Unloaded", None)}, set())
    asked = Told(replace(observed, demand={"new": held()}))
    assert asked.leaves() == {"old": ("GivesWay", "new")}


def test_an_engine_that_no_model_uses_goes_when_it_is_idle():
    observed = pool(engine("a", models=()), at("a"), a=busy())
    assert Told(observed).orders() == {"a"}
    assert Told(replace(observed, demand={"a": idle(1)})).leaves() == {"a": ("Unused", None)}


def test_an_engine_that_the_pool_does_not_know_drains_and_goes():
    assert Told(pool(at("stranger"))).leaves() == {"stranger": ("Unknown", None)}


def test_an_engine_in_two_pods_stays_in_one():
    room = [pod("p", 10), pod("q", 10), at("a", on="p", ago=50), at("a", on="q", ago=90)]
    told = Told(pool(engine("a"), *room, a=busy()))
    assert told.ordered("a") == ("q", (0,))


def test_an_engine_in_two_pods_stays_in_the_one_that_can_hold_it():
    room = [pod("p", 10), pod("q", 6), at("a", on="p", ago=50), at("a", on="q", ago=90)]
    told = Told(pool(engine("a"), *room, a=busy()))
    assert (told.ordered("a"), told.routed()) == (("p", (0,)), {"a"})


def test_an_engine_whose_card_is_gone_leaves():
    told = Told(pool(engine("a"), at("a", cards=(3,)), a=busy()))
    assert told.leaves() == {"a": ("Oversized", None)}
