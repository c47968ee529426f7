"""The last half hour: changes only, and sums of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.state.load import Load
from berth_gateway.state.past import KEPT_LOOKS, Counts, Past, Point, Series, summed
from berth_gateway.state.queues import Queues

A, B = Endpoint("a", "http://a", "a"), Endpoint("b", "http://b", "b")
ONE, OTHER = Model(key="1", name="one", endpoints=(A,)), Model(key="2", name="other")


@pytest.fixture
def queues() -> Queues:
    made = Queues(Load(), Backlog(10, 1000))
    made.publish(build([ONE, OTHER]))
    return made


def test_a_model_at_rest_is_one_point_however_long(queues) -> None:
    past = Past(queues)
    for _ in range(100):
        past.look()

    assert past.of(["1"]) == (Point(0, Counts(replicas=1)),)
    assert past.looks == 100


def test_each_change_is_a_point_at_the_look_that_saw_it(queues) -> None:
    past = Past(queues)
    past.look()
    queues.load.enter("a")
    past.look()
    past.look()
    queues.load.leave("a")
    past.look()

    assert past.of(["1"]) == (
        Point(0, Counts(0, 0, 1)),
        Point(1, Counts(0, 1, 1)),
        Point(3, Counts(0, 0, 1)),
    )


async def test_who_waits_is_counted(queues) -> None:
    past = Past(queues)
    queues.hold(Model(key="2", name="other", namespace="team"), 10)
    past.look()

    assert past.of(["2"])[-1].counts.held == len(queues.lines["2"].held)


def test_a_model_that_is_gone_is_forgotten(queues) -> None:
    past = Past(queues)
    past.look()
    queues.publish(build([ONE]))
    past.look()

    assert past.of(["2"]) == ()


def test_what_is_older_than_half_an_hour_is_forgotten_but_for_what_still_held_then(queues) -> None:
    past = Past(queues)
    for number in range(2 * KEPT_LOOKS):
        if number % 2:
            queues.load.enter("a")
        elif number:
            queues.load.leave("a")
        past.look()
    first, *others = past.of(["1"])

    assert len(others) == KEPT_LOOKS
    assert first.look <= past.looks - 1 - KEPT_LOOKS < others[0].look


@st.composite
def histories(draw) -> Series:
    looks = sorted(draw(st.sets(st.integers(0, 20), max_size=6)))
    counts = st.builds(Counts, *[st.integers(0, 5)] * 3)
    return tuple(Point(look, draw(counts)) for look in looks)


def at(series: Series, look: int) -> Counts:
    return next((one.counts for one in reversed(series) if one.look <= look), Counts())


@given(st.lists(histories(), max_size=4), st.integers(0, 21))
def test_a_sum_is_at_every_look_the_sum_of_what_holds_then(every: list[Series], look: int) -> None:
    whole = [at(series, look) for series in every]
    expected = Counts(*(sum(column) for column in zip(*whole, strict=True)))

    assert at(summed(every), look) == expected


@given(st.lists(histories(), max_size=4))
def test_a_sum_goes_forward_in_time(every: list[Series]) -> None:
    assert all(before.look < after.look for before, after in pairwise(summed(every)))
