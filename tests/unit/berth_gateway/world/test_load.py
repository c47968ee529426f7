import pytest

from berth_gateway.errors import Failure
from berth_gateway.routing.snapshot import Endpoint
from berth_gateway.world.load import Load

A, B = (Endpoint(key=key, url=f"http://{key}", name=key) for key in "ab")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_request_counts_while_it_lasts_also_when_it_fails() -> None:
    load = Load()
    with load.at(A), load.at(A), load.at(B):
        assert load.in_flight == {"a": 2, "b": 1}
    with pytest.raises(KeyError), load.at(A):
        raise KeyError
    assert load.in_flight == {}


def test_an_ejection_ends_with_its_time() -> None:
    clock = Clock()
    load = Load(clock)
    load.failed(A, Failure.CONNECT)
    assert load.view(frozenset()).ejected == {"a"}

    clock.now = 10.0
    assert load.view(frozenset()).ejected == frozenset()


def test_an_answer_wipes_the_slate() -> None:
    load = Load(Clock())
    load.failed(A, Failure.RESET)
    load.failed(A, Failure.RESET)
    load.answered(A)
    load.failed(A, Failure.RESET)

    assert load.ejected() == frozenset()


def test_what_is_gone_is_forgotten_but_its_requests_are_counted_to_their_end() -> None:
    load = Load(Clock())
    load.failed(A, Failure.CONNECT)
    with load.at(A):
        load.forget_but({"b"})
        assert load.ejected() == frozenset()
        assert load.in_flight == {"a": 1}


def test_each_view_is_another_turn() -> None:
    load = Load()

    assert load.view(frozenset()).turn != load.view(frozenset()).turn
