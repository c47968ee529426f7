import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing import rates
from berth_gateway.routing.rates import Bucket, duration, look, share, spend


def test_a_key_may_spend_its_minute_at_once_and_then_goes_on_at_its_rate() -> None:
    bucket, allowed = None, []
    for _ in range(61):
        bucket, verdict = spend(bucket, 60, now=0.0)
        allowed.append(verdict.allowed)
    assert allowed == [True] * 60 + [False]
    assert verdict.retry_seconds == pytest.approx(1.0)

    bucket, verdict = spend(bucket, 60, now=1.0)
    assert verdict.allowed
    assert not spend(bucket, 60, now=1.5)[1].allowed


@given(
    st.integers(1, 1000),
    st.lists(st.floats(0, 5), min_size=1, max_size=300),
)
def test_in_no_time_are_there_more_than_a_minutes_worth_and_the_rate(
    per_minute: int, pauses: list[float]
) -> None:
    bucket, now, allowed = None, 0.0, 0
    for pause in pauses:
        now += pause
        bucket, verdict = spend(bucket, per_minute, now)
        allowed += verdict.allowed
        assert 0 <= verdict.remaining <= verdict.limit == per_minute
        assert verdict.allowed or verdict.retry_seconds > 0
    assert allowed <= per_minute + now * per_minute / 60 + 1e-6


@given(st.integers(1, 1000), st.floats(0, 1000), st.floats(0, 100))
def test_after_the_wait_that_it_is_told_a_key_may_ask_again(
    per_minute: int, level: float, later: float
) -> None:
    bucket = Bucket(min(level, per_minute), 0.0)
    verdict = look(bucket, per_minute, later)

    assert spend(bucket, per_minute, later + verdict.retry_seconds + 1e-6)[1].allowed


def test_looking_costs_nothing() -> None:
    bucket, _ = spend(None, 10, now=0.0)

    assert look(bucket, 10, 0.0) == look(bucket, 10, 0.0)
    assert look(bucket, 10, 0.0).remaining == 9


def test_a_smaller_limit_holds_at_once_and_a_larger_one_is_grown_into() -> None:
    bucket, _ = spend(None, 100, now=0.0)

    assert look(bucket, 10, 0.0).remaining == 10
    assert look(bucket, 1000, 0.0).remaining == 99


@pytest.mark.parametrize(("limit", "gateways", "each"), [(600, 1, 600), (600, 4, 150), (1, 3, 1)])
def test_gateways_share_a_limit_and_none_is_left_without(limit, gateways, each) -> None:
    assert share(limit, gateways) == each


def test_the_headers_are_openais() -> None:
    _, verdict = spend(None, 600, now=0.0)

    assert rates.headers(verdict) == [
        (b"x-ratelimit-limit-requests", b"600"),
        (b"x-ratelimit-remaining-requests", b"599"),
        (b"x-ratelimit-reset-requests", b"100ms"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.1201, "121ms"), (0.9999, "1000ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (3661, "1h1m1s")],
)  # fmt: skip
def test_times_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
