from dataclasses import replace

import pytest

from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.keep_alive import FOREVER
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.state import demand
from berth_gateway.state.load import Load
from berth_gateway.state.queues import Place, Queues
from berth_gateway.state.residency import Residency

OWN = 300.0  # the model's keepAlive
A = Endpoint("uid-a", "http://a", "pod-a")
MODEL = Model(key="1", name="llama", namespace="team", endpoints=(A,), keep_alive_seconds=OWN)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queues(clock) -> Queues:
    made = Queues(Load(clock), Backlog(100, 1000), clock=clock)
    made.publish(build([MODEL]))
    return made


def _told(queues: Queues) -> tuple[float | None, float | None]:
    (one,) = demand.demand(queues, "gw-1", synced=True).models
    return one.keep_alive_seconds, one.idle_seconds


@pytest.mark.parametrize(
    ("asked", "seconds", "after"),
    [
        (None, 60.0, None),  # the model's own is longer
        (None, 600.0, 600.0),
        (None, FOREVER, FOREVER),
        (60.0, 30.0, 60.0),
        (60.0, 90.0, 90.0),
        (FOREVER, 90.0, FOREVER),
        (0.0, 90.0, 90.0),
    ],
)
def test_who_shares_a_model_may_only_ask_for_longer(asked, seconds, after) -> None:
    residency = Residency(asked=asked)
    residency.lengthen(seconds, OWN)

    assert residency.asked == after


def test_the_last_ollama_request_says_how_long(queues) -> None:
    queues.keep(MODEL, 60.0)
    queues.keep(MODEL, 10.0)
    assert _told(queues)[0] == 10.0

    queues.lengthen(MODEL, 20.0)
    assert _told(queues)[0] == 20.0

    queues.arrived(MODEL)
    queues.keep(MODEL, None)
    assert _told(queues)[0] is None


def test_what_was_asked_for_is_forgotten_with_the_last_endpoint(queues) -> None:
    queues.keep(MODEL, 60.0)
    other = replace(A, key="uid-b")
    queues.publish(build([replace(MODEL, endpoints=(other,))]))
    assert _told(queues)[0] == 60.0

    queues.publish(build([replace(MODEL, endpoints=())]))
    assert demand.demand(queues, "gw-1", synced=True).models == []


def test_what_was_asked_for_before_a_model_is_up_holds_once_it_is(queues) -> None:
    asleep = replace(MODEL, endpoints=())
    queues.publish(build([asleep]))
    queues.keep(asleep, 60.0)
    queues.publish(build([asleep]))
    queues.publish(build([MODEL]))

    assert _told(queues)[0] == 60.0


def test_a_model_is_idle_since_a_request_arrived_or_ended(queues, clock) -> None:
    queues.keep(MODEL, 60.0)
    assert _told(queues) == (60.0, None)

    queues.arrived(MODEL)
    place = queues.take(MODEL)
    assert isinstance(place, Place)
    clock.now += 7
    assert _told(queues) == (60.0, 7.0)

    place.leave()
    assert _told(queues) == (60.0, 0.0)


def test_a_change_of_what_was_asked_for_is_told_at_once(queues) -> None:
    before = demand.stamp(queues)
    queues.keep(MODEL, 0.0)

    assert demand.stamp(queues) != before
