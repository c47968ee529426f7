from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.pick import NO_ENDPOINT, NoneLeft, NoRoom, Picked, View, pick
from berth_gateway.routing.snapshot import Endpoint

KEYS = st.sampled_from("abcdef")
endpoints = st.lists(KEYS, unique=True).map(
    lambda keys: tuple(Endpoint(key=key, url=f"http://{key}", name=key) for key in keys)
)
views = st.builds(
    View,
    in_flight=st.dictionaries(KEYS, st.integers(0, 3)),
    ejected=st.frozensets(KEYS),
    paused=st.frozensets(KEYS),
    failed=st.frozensets(KEYS),
    room=st.none() | st.integers(1, 4),
    turn=st.integers(0, 20),
)


def _three() -> tuple[Endpoint, ...]:
    return tuple(Endpoint(key=key, url=f"http://{key}", name=key) for key in "abc")


def _may_take(given_: tuple, view: View) -> set[str]:
    """The same rules, said in sets."""
    untried = {one.key for one in given_} - view.failed
    sound = (untried - view.ejected) or untried
    full = {key for key in sound if view.room and view.in_flight.get(key, 0) >= view.room}
    return sound - view.paused - full


@given(endpoints, views)
def test_the_picked_endpoint_may_take_the_request_and_no_such_is_less_busy(
    given_: tuple, view: View
) -> None:
    match pick(given_, view):
        case Picked(endpoint, _, in_flight, _):
            assert endpoint.key in _may_take(given_, view)
            assert in_flight == min(view.in_flight.get(key, 0) for key in _may_take(given_, view))
        case NoneLeft():
            assert given_
            assert all(endpoint.key in view.failed for endpoint in given_)
        case NoRoom():
            assert not _may_take(given_, view)


def test_equals_take_turns() -> None:
    picked = [pick(_three(), View(turn=turn)) for turn in range(9)]
    counted = Counter(one.endpoint.key for one in picked if isinstance(one, Picked))

    assert counted == {"a": 3, "b": 3, "c": 3}


def test_the_choice_says_why() -> None:
    picked = pick(_three(), View(in_flight={"a": 2, "b": 1, "c": 3}))

    assert picked == Picked(_three()[1], "least busy", 1, 3)
    assert picked.why == "least busy, 1 in flight, of 3"


def test_when_all_are_ejected_one_is_tried_all_the_same() -> None:
    assert isinstance(pick(_three(), View(ejected=frozenset("abc"))), Picked)


def test_a_sound_endpoint_without_room_is_waited_for_and_no_ejected_one_is_tried() -> None:
    view = View(in_flight={"a": 1}, ejected=frozenset("bc"), room=1)

    assert pick(_three(), view) == NoRoom("1 endpoints, none with room")


def test_without_endpoints_one_may_come() -> None:
    assert pick((), View()) is NO_ENDPOINT


def test_when_every_endpoint_has_been_tried_none_is_left() -> None:
    assert pick(_three(), View(failed=frozenset("abc"))) == NoneLeft(
        "3 endpoints, none left to try"
    )
