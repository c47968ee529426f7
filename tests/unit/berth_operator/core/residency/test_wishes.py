"""Whose turn it is."""

from fakes.engines_in_pods import NOW, Told, at, busy, engine, held, pool


def test_beyond_the_bound_the_longest_wait_comes_first_whatever_the_priority():
    things = [engine("low"), engine("high", priority=9)]
    assert Told(pool(*things, low=held(70), high=held(65))).orders() == {"low"}
    assert Told(pool(*things, low=held(50), high=held(45))).orders() == {"high"}


def test_of_equal_priority_the_longer_wait_comes_first():
    assert Told(pool(engine("a"), engine("b"), a=held(5), b=held(6))).orders() == {"b"}


def test_a_failure_begins_the_wait_anew():
    things = [engine("a"), engine("b", blocked_until=NOW - 1), at("a")]
    assert Told(pool(*things, a=busy(), b=held(9999))).orders() == {"a"}
