"""What keeps a resident from one that wants its room, and until when."""

from dataclasses import replace

import pytest
from fakes.engines_in_pods import NOW, Told, at, busy, engine, held, idle, pod, pool

from berth_operator.core.residency.verdicts import Kept


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"paused": True}, "Paused"),
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


def test_nothing_is_swapped_before_its_minimum_residency_and_the_wait_has_its_time():
    told = Told(pool(engine("a"), engine("b"), at("a", ago=10), a=idle(), b=held()))
    assert told.orders() == {"a"}
    assert (told.waits("b").because, told.waits("b").until) == ("MinimumResidency", NOW + 20)
    assert told.again == 20


def test_a_clock_that_was_put_back_holds_no_one_longer_than_the_minimum():
    told = Told(pool(engine("a"), engine("b"), at("a", ago=-9999), a=idle(), b=held()))
    assert told.waits("b").until == NOW + 30


def test_one_that_loads_is_not_disturbed():
    """2: nor are its neighbours, whose memory it would be told of."""
    loading = at("a", ago=5, state="Loading")
    told = Told(pool(engine("a"), engine("b"), loading, b=held(9999)))
    assert told.why("a") == Kept("Loading")
    wait = told.waits("b")
    assert (wait.because, wait.until, wait.expected) == ("Loading", None, NOW + 15 + 30)


def test_a_load_that_has_not_begun_and_that_nobody_wants_any_more_gives_way():
    waiting = at("a", state="Loading", withheld=0)
    told = Told(pool(engine("a"), engine("b"), waiting, b=held()))
    assert told.leaves() == {"a": ("GivesWay", "b")}


def test_a_paused_one_does_not_even_give_way_to_its_own_successor():
    before = engine("a", models=(), paused=True)
    after = engine("b", supersedes="a")
    told = Told(pool(before, after, at("a"), a=idle(), b=held(9999)))
    assert told.orders() == {"a"}
    assert told.waits("b").because == "Paused"


def test_a_paused_load_that_has_not_begun_stays_ordered_too():
    waiting = at("a", state="Loading", withheld=0)
    told = Told(pool(engine("a", paused=True), engine("b"), waiting, b=held(9999)))
    assert told.why("a") == Kept("Loading")
    assert told.waits("b").because == "Paused"


def test_others_are_placed_around_a_paused_one():
    things = [engine("a", 4, paused=True), engine("b", 4), engine("c", 5), at("a"), at("b")]
    told = Told(pool(*things, a=idle(9e6), b=idle(), c=held()))
    assert told.orders() == {"a", "c"}
    assert told.leaves() == {"b": ("Idle", "c")}


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
