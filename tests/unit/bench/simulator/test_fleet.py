import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.simulator.engine import L4, Replica, Request
from bench.simulator.fleet import Fleet, Setup, least_in_flight
from bench.simulator.measure import outcome
from berth_gateway.routing.pick import View as GatewayView
from berth_gateway.routing.pick import pick
from berth_gateway.routing.snapshot import Endpoint


class Sizes:
    """A law that was told beforehand what to say when."""

    delay_seconds = 0.0

    def __init__(self, *sizes, tick_seconds=1.0, event_driven=False):
        self.sizes = sizes
        self.tick_seconds = tick_seconds
        self.event_driven = event_driven
        self.views = []

    def look(self, view, current):
        self.views.append(view)
        return [size for since, size in self.sizes if since <= view.now][-1]


def steady(rate, seconds, prompt=500, answer=50):
    rng = random.Random(1)
    now, requests = 0.0, []
    while (now := now + rng.expovariate(rate)) < seconds:
        requests.append(Request(now, prompt, answer))
    return requests


def test_every_request_is_answered_though_replicas_come_and_go():
    law = Sizes((0, 2), (60, 4), (200, 1), (300, 3))
    found = outcome(Fleet(Setup(L4), law, 1).run(steady(2.0, 400), 400.0), L4)
    assert found.failed == 0
    assert found.turns == 2


def test_a_replica_serves_a_cold_start_after_it_was_asked_for():
    law = Sizes((0, 2), (10, 3))
    Fleet(Setup(L4, cold_start_seconds=60), law, 1).run([], 120.0)
    ready = next(view.now for view in law.views if view.ready == 3)
    assert 10 + 54 <= ready <= 10 + 66 + 1


def test_replicas_cost_while_they_start_and_while_they_drain():
    law = Sizes((0, 1), (10, 2))
    setup = Setup(L4, cold_start_seconds=60, initial_replicas=1)
    run = Fleet(setup, law, 1).run([], 100.0)
    assert run.replica_seconds == pytest.approx(100 + 90)

    long = [Request(1.0, 100, 1_000), Request(1.1, 100, 1_000)]
    run = Fleet(Setup(L4), Sizes((0, 2), (10, 1)), 1).run(long, 100.0)
    drained = min(one.finished for one in long)
    assert run.replica_seconds == pytest.approx(100 + drained)


def test_who_comes_when_nothing_serves_is_held_and_answered_later():
    law = Sizes((0, 0), (5, 1))
    setup = Setup(L4, min_replicas=0, initial_replicas=0)
    requests = [Request(1.0, 100, 10)]
    run = Fleet(setup, law, 1).run(requests, 100.0)
    assert law.views[2].held == 1
    assert requests[0].first > 5 + 54
    assert outcome(run, L4).late == 1


def test_an_event_driven_law_looks_within_the_coalescing_of_an_arrival():
    law = Sizes((0, 1), tick_seconds=50.0, event_driven=True)
    Fleet(Setup(L4), law, 1).run([Request(3.0, 10, 10), Request(3.01, 10, 10)], 40.0)
    assert [view.now for view in law.views[:2]] == pytest.approx([3.0, 3.1])


def test_only_what_comes_after_the_warm_up_is_measured():
    run = Fleet(Setup(L4), Sizes((0, 2)), 1, measured_from=50.0).run(steady(1.0, 100), 100.0)
    assert all(one.arrived >= 50 for one in run.requests)
    assert run.replica_seconds == pytest.approx(100)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_the_replica_that_is_chosen_is_as_idle_as_the_gateways_choice(loads):
    replicas = [Replica(L4, 0.0) for _ in loads]
    for replica, load in zip(replicas, loads, strict=True):
        for _ in range(load):
            replica.take(0.0, Request(0.0, 100, 500))
    keys = [str(i) for i in range(len(loads))]
    endpoints = [Endpoint(key=key, url="", name=key) for key in keys]
    picked = pick(endpoints, GatewayView(in_flight=dict(zip(keys, loads, strict=True))))
    assert least_in_flight(replicas).load == picked.in_flight
