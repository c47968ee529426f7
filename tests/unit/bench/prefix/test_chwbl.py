"""Vectors of KubeAI's own tests: load_balancer_test.go and chat_completions_test.go."""

from collections import Counter

import pytest

from bench.prefix import chwbl

A1, A2 = "pod-a-1", "pod-a-2"
TO_A1, TO_A2 = chwbl.place(A1, 0), chwbl.place(A2, 0)


@pytest.fixture
def ring():
    return chwbl.ring([A1, A2], replication=1)


def ask(ring, in_flight, key, count, load_factor=1.5):
    chosen = Counter()
    for _ in range(count):
        name = chwbl.choose(ring, chwbl.hashed(key), in_flight, load_factor)
        in_flight[name] += 1
        chosen[name] += 1
    return chosen


def test_an_endpoint_is_preferred_until_it_has_half_as_much_again_as_the_mean(ring):
    in_flight = {A1: 10, A2: 10}
    assert ask(ring, in_flight, TO_A1, 1) == {A1: 1}
    assert ask(ring, in_flight, TO_A1, 20) == {A1: 20}
    assert ask(ring, in_flight, TO_A1, 4) == {A1: 3, A2: 1}
    assert ask(ring, in_flight, TO_A2, 20) == {A2: 20}


def test_a_single_endpoint_takes_everything():
    in_flight = {"pod-b-1": 0}
    ring = chwbl.ring(["pod-b-1"], replication=1)
    assert ask(ring, in_flight, TO_A2, 1000) == {"pod-b-1": 1000}


def test_keys_spread_evenly_over_many_places():
    ring = chwbl.ring(["pod0", "pod1"])
    chosen = Counter(chwbl.choose(ring, chwbl.hashed(str(key)), {}, 1000) for key in range(20_000))
    # KubeAI's test allows 4 % for its own random keys.
    assert abs(chosen["pod0"] - chosen["pod1"]) / 10_000 < 0.2


def test_with_nobody_below_the_bound_the_first_on_the_ring_is_taken(ring):
    assert chwbl.choose(ring, chwbl.hashed(TO_A1), {A1: 9, A2: 9}, load_factor=0.1) == A1


@pytest.mark.parametrize(
    ("messages", "characters", "expected"),
    [
        ([], 9, ""),
        ([("user", "abc")], 0, ""),
        ([("user", "abc")], 9, "abc"),
        ([("user", "abcefghijk")], 9, "abcefghij"),
        ([("user", "世界")], 1, "世"),
        ([("user", "世界")], 3, "世界"),
        ([("user", "abc"), ("user", "xyz")], 9, "abc"),
        ([("system", "abc"), ("user", "xyz")], 9, "xyz"),
        ([("system", "abc")], 9, ""),
    ],
)
def test_the_key_is_the_beginning_of_the_first_user_message(messages, characters, expected):
    body = {"messages": [{"role": role, "content": text} for role, text in messages]}
    assert chwbl.prefix(body, characters) == expected


def test_the_key_of_a_completion_is_the_beginning_of_its_prompt():
    assert chwbl.prefix({"prompt": "test-prefix"}, 10) == "test-prefi"
