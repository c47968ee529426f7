from berth_gateway.errors import Failure
from berth_gateway.routing.snapshot import Endpoint
from berth_gateway.state.load import Load

A, B = (Endpoint(key=key, url=f"http://{key}", name=key) for key in "ab")
BOTH = (A, B)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_requests_are_counted_by_endpoint_and_a_zero_is_not_kept() -> None:
    load = Load()
    for key in "aab":
        load.enter(key)
    assert load.in_flight == {"a": 2, "b": 1}
    for key in "aba":
        load.leave(key)
    assert load.in_flight == {}


def test_an_ejection_ends_with_its_time() -> None:
    clock = Clock()
    load = Load(clock)
    load.failed(A, Failure.CONNECT, BOTH)
    assert load.view(frozenset()).ejected == {"a"}

    clock.now = 10.0
    assert load.view(frozenset()).ejected == frozenset()


def test_an_answer_wipes_the_slate() -> None:
    load = Load(Clock())
    load.failed(A, Failure.RESET, BOTH)
    load.failed(A, Failure.RESET, BOTH)
    load.answered(A)
    load.failed(A, Failure.RESET, BOTH)

    assert load.ejected() == frozenset()


def test_what_is_gone_is_forgotten_but_its_requests_are_counted_to_their_end() -> None:
    load = Load(Clock())
    load.failed(A, Failure.CONNECT, BOTH)
    load.enter("a")
    load.forget_but({"b"})

    assert load.ejected() == frozenset()
    assert load.in_flight == {"a": 1}


def test_each_view_is_another_turn() -> None:
    load = Load()

    assert load.view(frozenset()).turn != load.view(frozenset()).turn


def test_an_endpoint_that_is_full_is_paused_and_not_ejected() -> None:
    clock = Clock()
    load = Load(clock)
    load.failed(A, Failure.BUSY, BOTH)
    view = load.view(frozenset())

    assert (view.paused, view.ejected) == ({"a"}, frozenset())
    assert load.reopens_at([A, B]) == 0.1
    clock.now = 0.1
    assert load.view(frozenset()).paused == frozenset()
    assert load.reopens_at([A, B]) is None


def test_the_last_sound_endpoint_is_not_ejected() -> None:
    load = Load(Clock())
    load.failed(A, Failure.CONNECT, BOTH)
    load.failed(B, Failure.CONNECT, BOTH)

    assert load.ejected() == {"a"}


def test_an_answer_says_whether_it_changed_anything() -> None:
    load = Load(Clock())
    assert not load.answered(A)
    load.failed(A, Failure.BUSY, BOTH)
    assert load.answered(A)


def test_after_a_pause_one_request_at_a_time_tries_until_one_has_an_answer() -> None:
    clock = Clock()
    load = Load(clock)
    load.failed(A, Failure.BUSY, BOTH)
    clock.now = 1.0
    load.enter("a")
    assert load.view(frozenset()).paused == {"a"}
    load.leave("a")
    assert load.view(frozenset()).paused == frozenset()

    load.enter("a")
    load.answered(A)
    assert load.view(frozenset()).paused == frozenset()


def test_what_waits_to_be_computed_is_counted_until_it_is() -> None:
    load = Load(Clock())
    load.compute("a", 500)
    load.compute("a", 100)
    assert load.view(frozenset()).computing == {"a": 600}
    load.computed("a", 500)
    load.computed("a", 100)
    assert load.computing == {}
