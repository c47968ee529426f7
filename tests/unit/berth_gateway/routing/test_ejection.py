import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Failure
from berth_gateway.routing.ejection import Health, failed


def test_one_refused_connection_ejects_for_ten_seconds() -> None:
    health = failed(Health(), Failure.CONNECT, now=100.0)

    assert health.ejected(109.9)
    assert not health.ejected(110.0)


def test_three_resets_in_a_row_eject() -> None:
    health = Health()
    for expected in (False, False, True):
        health = failed(health, Failure.RESET, now=5.0)
        assert health.ejected(5.0) is expected


def test_after_an_ejection_the_first_failure_ejects_for_twice_as_long() -> None:
    health = failed(Health(), Failure.CONNECT, now=0.0)
    again = failed(health, Failure.RESET, now=10.0)

    assert again.ejected_until == 30.0


def test_a_failure_during_an_ejection_does_not_lengthen_it() -> None:
    health = failed(Health(), Failure.CONNECT, now=0.0)

    assert failed(health, Failure.CONNECT, now=1.0).ejected_until == health.ejected_until


@pytest.mark.parametrize("failure", [Failure.BUSY, Failure.DENIED])
def test_an_engine_that_answers_is_never_ejected(failure: Failure) -> None:
    health = Health()
    for _ in range(10):
        health = failed(health, failure, now=1.0)
    assert not health.ejected(1.0)


@pytest.mark.parametrize("failure", list(Failure))
def test_the_last_endpoint_is_never_ejected(failure: Failure) -> None:
    health = Health()
    for now in range(20):
        health = failed(health, failure, float(now), last=True)
        assert not health.ejected(now)


@pytest.mark.parametrize("failure", [Failure.BUSY, Failure.CONNECT])
def test_who_cannot_take_a_request_now_is_left_alone_for_longer_and_longer(failure) -> None:
    health, now, pauses = Health(), 0.0, []
    for _ in range(7):
        health = failed(health, failure, now, last=True)
        pauses.append(round(health.paused_until - now, 3))
        now = health.paused_until

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_requests_that_were_under_way_when_a_pause_began_do_not_lengthen_it() -> None:
    health = failed(Health(), Failure.BUSY, now=0.0)

    assert failed(health, Failure.BUSY, now=0.05) == health


@given(st.lists(st.tuples(st.sampled_from(Failure), st.integers(0, 400)), max_size=40))
def test_an_ejection_is_never_longer_than_five_minutes(events: list) -> None:
    now, health = 0, Health()
    for failure, passed in events:
        now += passed
        health = failed(health, failure, now)
        assert health.ejected_until - now <= 300.0
