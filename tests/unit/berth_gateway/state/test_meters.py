import pytest

from berth_gateway.routing.keyring import ApiKey
from berth_gateway.state.meters import Meters

LIMITED = ApiKey("a", "", requests_per_minute=2)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_key_without_a_limit_is_not_metered(clock) -> None:
    meters = Meters(clock=clock)

    assert meters.spend(ApiKey("a", "")) is None
    assert meters.look(ApiKey("a", "")) is None


def test_a_key_has_its_rate_whatever_others_spend(clock) -> None:
    meters = Meters(clock=clock)
    other = ApiKey("b", "", requests_per_minute=2)
    allowed = [meters.spend(LIMITED).allowed for _ in range(3)]

    assert allowed == [True, True, False]
    assert meters.spend(other).allowed
    clock.now = 30.0
    assert meters.spend(LIMITED).allowed


def test_of_two_gateways_each_lets_half_through(clock) -> None:
    meters = Meters(gateways=2, clock=clock)

    assert [meters.spend(LIMITED).allowed for _ in range(2)] == [True, False]


def test_a_reload_of_the_keys_leaves_what_was_spent(clock) -> None:
    meters = Meters(clock=clock)
    meters.spend(LIMITED)
    meters.keep_only([ApiKey("a", "another hash", requests_per_minute=2), ApiKey("b", "")])

    assert meters.look(LIMITED).remaining == 1


def test_a_key_that_is_gone_for_a_moment_returns_with_its_own_bucket(clock) -> None:
    meters = Meters(clock=clock)
    meters.spend(LIMITED)
    meters.keep_only([])
    assert meters.look(LIMITED).remaining == 1

    clock.now += 60
    meters.keep_only([])
    assert meters.look(LIMITED).remaining == 2
