from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.pick import NoneLeft, Picked, View, pick
from berth_gateway.routing.snapshot import Endpoint

KEYS = st.sampled_from("abcdef")
endpoints = st.lists(KEYS, unique=True).map(
    lambda keys: tuple(Endpoint(key=key, url=f"http://{key}", name=key) for key in keys)
)
views = st.builds(
    View,
    in_flight=st.dictionaries(KEYS, st.integers(0, 3)),
    ejected=st.frozensets(KEYS),
    failed=st.frozensets(KEYS),
    turn=st.integers(0, 20),
)


def _three() -> tuple[Endpoint, ...]:
    return tuple(Endpoint(key=key, url=f"http://{key}", name=key) for key in "abc")


@given(endpoints, views)
def test_a_picked_endpoint_is_present_and_has_not_failed(given_: tuple, view: View) -> None:
    match pick(given_, view):
        case Picked(endpoint, _):
            assert endpoint in given_
            assert endpoint.key not in view.failed
        case NoneLeft():
            assert all(endpoint.key in view.failed for endpoint in given_)


@given(endpoints, views)
def test_an_ejected_endpoint_is_never_picked_while_a_sound_one_is_left(
    given_: tuple, view: View
) -> None:
    sound = {one.key for one in given_} - view.failed - view.ejected
    picked = pick(given_, view)
    if sound:
        assert isinstance(picked, Picked)
        assert picked.endpoint.key in sound


@given(endpoints, views)
def test_no_sound_endpoint_has_less_in_flight_than_the_picked_one(
    given_: tuple, view: View
) -> None:
    sound = {one.key for one in given_} - view.failed - view.ejected
    picked = pick(given_, view)
    if sound and isinstance(picked, Picked):
        least = min(view.in_flight.get(key, 0) for key in sound)
        assert view.in_flight.get(picked.endpoint.key, 0) == least


def test_equals_take_turns() -> None:
    picked = [pick(_three(), View(turn=turn)) for turn in range(9)]
    counted = Counter(one.endpoint.key for one in picked if isinstance(one, Picked))

    assert counted == {"a": 3, "b": 3, "c": 3}


def test_the_choice_says_why() -> None:
    picked = pick(_three(), View(in_flight={"a": 2, "b": 1, "c": 3}))

    assert picked == Picked(_three()[1], "least in flight (1) of 3")


def test_when_all_are_ejected_one_is_tried_all_the_same() -> None:
    picked = pick(_three(), View(ejected=frozenset("abc")))

    assert isinstance(picked, Picked)
    assert picked.why.endswith("all ejected")


def test_without_endpoints_there_is_none_left() -> None:
    assert pick((), View()) == NoneLeft("0 endpoints, none left to try")
