"""Requests that wait: in virtual time, so that hours of waiting take no time at all."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from fakes.virtual_loop import VirtualLoop
from hypothesis import given, settings
from hypothesis import strategies as st

from berth_api.spec import RoutingPolicy
from berth_gateway.errors import Failure
from berth_gateway.routing.admission import Backlog, Reason, Refused
from berth_gateway.routing.pick import NoneLeft, NoRoom, Picked, pick
from berth_gateway.routing.prefix import affinity
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.state.load import Load
from berth_gateway.state.queues import Held, Place, Queues

A, B, C = (Endpoint(key=key, url=f"http://{key}", name=key) for key in "abc")
COLD = Model(key="u-1", name="llama", namespace="team", max_wait_seconds=600)
ONE = replace(COLD, endpoints=(A,), room=1)


class Desk:
    """Queues, and the tasks of the requests that wait in them."""

    def __init__(self, loop: VirtualLoop, bound: Backlog | None = None) -> None:
        self.loop = loop
        self.load = Load(loop.time)
        self.queues = Queues(
            self.load,
            bound or Backlog(100, 1000),
            clock=loop.time,
        )

    def publish(self, *models: Model) -> None:
        self.queues.publish(build(models))

    def take(self, model: Model = COLD) -> Place:
        place = self.queues.take(model)
        assert isinstance(place, Place)
        return place

    def hold(self, model: Model = COLD, size: int = 1) -> Held:
        held = self.queues.hold(model, size)
        assert isinstance(held, Held)
        return held

    def wait(self, model: Model = COLD, seconds: float = 10_000) -> "asyncio.Task[Any]":
        return self.loop.create_task(self.queues.wait(self.hold(model), seconds))


@pytest.fixture
def loop() -> Any:
    made = VirtualLoop()
    yield made
    made.close()


@pytest.fixture
def desk(loop: VirtualLoop) -> Desk:
    return Desk(loop)


def run(desk: Desk, work: Coroutine[Any, Any, Any]) -> Any:
    return desk.loop.run_until_complete(work)


async def _tick() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_request_takes_a_place_and_leaves_it(desk: Desk) -> None:
    desk.publish(ONE)
    with desk.take():
        assert desk.load.in_flight == {"a": 1}
        assert isinstance(desk.queues.take(COLD), NoRoom)
    assert desk.load.in_flight == {}


def test_a_model_that_nobody_has_published_has_no_place(desk: Desk) -> None:
    assert isinstance(desk.queues.take(COLD), NoRoom)


def test_endpoints_that_a_request_has_excluded_are_not_for_it(desk: Desk) -> None:
    desk.publish(ONE)

    assert isinstance(desk.queues.take(COLD, None, {"a"}), NoneLeft)


def test_a_held_request_goes_on_when_an_endpoint_appears(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        waiting = desk.wait()
        await asyncio.sleep(42)
        desk.publish(ONE)
        assert (await waiting).endpoint is A

    run(desk, story())
    assert desk.queues.lines["u-1"].waits.total == pytest.approx(42.0)


def test_a_request_that_ends_hands_its_place_to_the_first_that_waits(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(ONE)
        place = desk.take()
        first, second = desk.wait(), desk.wait()
        await _tick()
        place.leave()
        assert desk.load.in_flight == {"a": 1}
        await _tick()
        assert (first.done(), second.done()) == (True, False)
        first.result().leave()
        assert (await second).endpoint is A

    run(desk, story())


def test_who_comes_later_does_not_pass_who_waits(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(ONE)
        place = desk.take()
        desk.hold()
        desk.publish(replace(ONE, room=1, endpoints=(A,)))
        assert isinstance(desk.queues.take(COLD), NoRoom)
        place.leave()
        assert isinstance(desk.queues.take(COLD), NoRoom)

    run(desk, story())


def test_a_paused_endpoint_wakes_its_queue_when_the_pause_is_over(desk: Desk) -> None:
    async def story() -> float:
        desk.publish(replace(ONE, room=None))
        desk.queues.failed(ONE, A, Failure.BUSY)
        began = desk.loop.time()
        assert isinstance(desk.queues.take(COLD), NoRoom)
        await desk.wait()
        return desk.loop.time() - began

    assert run(desk, story()) == pytest.approx(0.1, abs=0.01)


def test_an_endpoint_that_answers_is_open_again_at_once(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(replace(ONE, room=None))
        desk.queues.failed(ONE, A, Failure.BUSY)
        waiting = desk.wait()
        desk.queues.sound(ONE, A)
        await _tick()
        assert waiting.done()

    run(desk, story())


def test_an_ejected_endpoint_takes_no_part_until_it_is_over_and_the_last_is_never_ejected(
    desk: Desk,
) -> None:
    async def story() -> None:
        two = replace(ONE, endpoints=(A, B))
        desk.publish(two)
        desk.queues.failed(two, A, Failure.CONNECT)
        desk.queues.failed(two, B, Failure.CONNECT)
        assert desk.load.ejected() == {"a"}
        assert (await desk.wait(two)).endpoint is B
        waiting = desk.wait(two)
        assert (await waiting).endpoint is A
        assert desk.loop.time() == pytest.approx(1010, abs=0.1)

    run(desk, story())


def test_a_client_that_leaves_is_forgotten_at_once(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        waiting = desk.wait()
        await _tick()
        assert desk.queues.whole == Backlog(1, 1)
        waiting.cancel()
        await _tick()
        assert desk.queues.whole == Backlog()
        assert not desk.queues.lines["u-1"].held

    run(desk, story())


def test_a_place_that_comes_as_the_client_leaves_goes_to_the_next(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(ONE)
        place = desk.take()
        first, second = desk.wait(), desk.wait()
        await _tick()
        place.leave()
        first.cancel()
        assert (await second).endpoint is A
        assert desk.load.in_flight == {"a": 1}

    run(desk, story())


def test_after_its_time_a_request_is_refused(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        refused = await desk.wait()
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.WAITED
        assert desk.loop.time() == pytest.approx(1600, abs=0.1)
        assert desk.queues.whole == Backlog()

    run(desk, story())


def test_between_times_there_is_nothing_to_say(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        held = desk.hold()
        assert await desk.queues.wait(held, 15) is None
        assert desk.loop.time() == pytest.approx(1015, abs=0.1)
        desk.publish(ONE)
        assert isinstance(await desk.queues.wait(held, 15), Place)

    run(desk, story())


def test_one_that_has_waited_before_waits_in_front_and_no_longer_in_all(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(ONE)
        place = desk.take()
        desk.hold()
        again = desk.queues.hold(COLD, 1, since=900.0)
        assert isinstance(again, Held)
        assert again.until == 1500.0
        place.leave()
        assert again.outcome.done()

    run(desk, story())


def test_who_waits_for_a_model_that_is_deleted_is_told(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        waiting = desk.wait()
        await _tick()
        desk.publish()
        assert (await waiting).reason is Reason.VANISHED
        late = desk.queues.hold(COLD, 1)
        assert isinstance(late, Refused)
        assert late.reason is Reason.VANISHED

    run(desk, story())
    assert desk.queues.lines == {}


def test_who_waits_for_what_will_not_come_any_more_is_told(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        waiting = desk.wait()
        await _tick()
        desk.publish(replace(COLD, phase="Failed", reason="OutOfMemory"))
        refused = await waiting
        assert refused.reason is Reason.NOTHING_TO_COME
        assert "OutOfMemory" in refused.message

    run(desk, story())


def test_a_gateway_that_leaves_holds_nobody(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        waiting = desk.wait()
        await _tick()
        desk.queues.close()
        assert (await waiting).reason is Reason.LEAVING
        late = desk.queues.hold(COLD, 1)
        assert isinstance(late, Refused)
        assert late.reason is Reason.LEAVING

    run(desk, story())


def test_one_model_cannot_fill_the_gateway_for_another(loop: VirtualLoop) -> None:
    async def story() -> None:
        desk = Desk(loop, Backlog(8, 1000))
        other = replace(COLD, key="u-2", name="phi")
        desk.publish(COLD, other)
        outcomes = [desk.queues.hold(COLD, 1) for _ in range(20)]
        assert sum(isinstance(one, Held) for one in outcomes) == 4
        assert desk.queues.lines["u-1"].refused == {Reason.GATEWAY_FULL: 16}
        assert isinstance(desk.queues.hold(other, 1), Held)

    loop.run_until_complete(story())


def test_the_time_from_the_first_request_to_the_first_endpoint_is_measured(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        assert desk.queues.estimate(COLD) is None
        waiting = desk.wait()
        await asyncio.sleep(30)
        desk.publish(ONE)
        (await waiting).leave()
        desk.publish(COLD)
        assert desk.queues.estimate(COLD) == 30.0
        desk.hold()
        await asyncio.sleep(10)
        assert desk.queues.estimate(COLD) == pytest.approx(20.0)

    run(desk, story())


def test_prompts_that_begin_alike_go_to_one_endpoint(desk: Desk) -> None:
    model = replace(COLD, endpoints=(A, B, C), policy=RoutingPolicy.PREFIX_AWARE)
    desk.publish(model)
    asked = affinity(b"a conversation " * 100)
    places = []
    for _ in range(3):
        place = desk.queues.take(model, asked)
        assert isinstance(place, Place)
        places.append(place)

    assert len({place.endpoint.key for place in places}) == 1
    assert "has seen" in places[1].picked.why


def test_a_prompt_is_work_until_its_answer_begins_or_it_is_given_up(desk: Desk) -> None:
    model = replace(COLD, endpoints=(A,), policy=RoutingPolicy.PREFIX_AWARE)
    desk.publish(model)
    asked = affinity(b"a conversation " * 100)
    first, second = desk.queues.take(model, asked), desk.queues.take(model, asked)
    assert isinstance(first, Place)
    assert isinstance(second, Place)
    known = second.picked.unseen
    assert desk.load.computing == {"a": asked.size + known}

    first.begin()
    assert desk.load.computing == ({"a": known} if known else {})
    first.leave()
    second.leave()
    assert desk.load.computing == {}


def test_a_departed_endpoint_is_owned_until_its_last_request_ends(desk: Desk) -> None:
    desk.publish(ONE)
    place = desk.take()
    desk.publish(COLD)
    assert desk.queues.owners["a"].model is COLD
    place.leave()
    desk.publish(COLD)
    assert desk.queues.owners == {}


ARRIVAL = st.tuples(st.just("arrive"), st.sampled_from(["u-1", "u-2"]))
OPERATIONS = st.one_of(
    ARRIVAL,
    ARRIVAL,
    ARRIVAL,
    st.tuples(st.just("finish"), st.integers(0, 50)),
    st.tuples(st.just("leave"), st.integers(0, 50)),
    st.tuples(st.just("swap"), st.integers(0, 50)),
    st.tuples(st.just("publish"), st.integers(0, 7), st.integers(1, 2)),
    st.tuples(st.just("fail"), st.sampled_from([A, B, C]), st.sampled_from(Failure)),
    st.tuples(st.just("sound"), st.sampled_from([A, B, C])),
    st.tuples(st.just("pass"), st.sampled_from([0.05, 1.0, 11.0, 400.0])),
)


class Shop:
    """Two models whose endpoints come, go and fail while requests arrive, end and leave."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.desk = Desk(loop, Backlog(12, 100))
        self.models = {key: replace(COLD, key=key, name=key) for key in ("u-1", "u-2")}
        self.waiting: list[asyncio.Task[Any]] = []
        self.places: list[Place] = []
        self.order: dict[str, list[int]] = {"u-1": [], "u-2": []}
        self.number = 0
        self.publish(3, 1)

    async def do(self, operation: tuple[Any, ...]) -> None:
        name, *arguments = operation
        if name == "pass":
            await asyncio.sleep(arguments[0])
        else:
            getattr(self, name)(*arguments)
        await _tick()
        self.waiting = [task for task in self.waiting if not task.done()]

    def arrive(self, key: str) -> None:
        model = self.models[key]
        place = self.desk.queues.take(model)
        if isinstance(place, Place):
            self.places.append(place)
            return
        held = self.desk.queues.hold(model, 3)
        if isinstance(held, Held):
            self.number += 1
            task = self.desk.loop.create_task(self._wait(held, key, self.number))
            self.waiting.append(task)

    async def _wait(self, held: Held, key: str, number: int) -> None:
        outcome = await self.desk.queues.wait(held, 10_000)
        if isinstance(outcome, Place):
            self.order[key].append(number)
            self.places.append(outcome)

    def finish(self, which: int) -> None:
        if self.places:
            self.places.pop(which % len(self.places)).leave()

    def leave(self, which: int) -> None:
        if self.waiting:
            self.waiting.pop(which % len(self.waiting)).cancel()

    def swap(self, which: int) -> None:
        """In one turn of the loop: a place may be on its way to a client that has just left."""
        self.finish(which)
        self.leave(0)

    def publish(self, which: int, room: int) -> None:
        chosen = tuple(one for bit, one in enumerate((A, B, C)) if which >> bit & 1)
        mine = Endpoint("z", "http://z", "z")
        self.models = {
            "u-1": replace(self.models["u-1"], endpoints=chosen, room=room),
            "u-2": replace(self.models["u-2"], endpoints=(mine,) * (which % 2), room=room),
        }
        self.desk.publish(*self.models.values())
        self.desk.load.forget_but({one.key for m in self.models.values() for one in m.endpoints})

    def fail(self, endpoint: Endpoint, failure: Failure) -> None:
        self.desk.queues.failed(self.models["u-1"], endpoint, failure)

    def sound(self, endpoint: Endpoint) -> None:
        self.desk.queues.sound(self.models["u-1"], endpoint)

    def check(self) -> None:
        queues, load = self.desk.queues, self.desk.load
        open_places = len(self.places)
        assert sum(load.in_flight.values()) == open_places
        assert all(count > 0 for count in load.in_flight.values())
        lines = queues.lines.values()
        assert queues.whole == Backlog(
            sum(len(line.held) for line in lines), sum(x.size for x in lines)
        )
        for key, line in queues.lines.items():
            assert line.size == sum(held.size for held in line.held)
            assert line.since == (next(iter(line.held)).since if line.held else None)
            assert self.order[key] == sorted(self.order[key])
            if line.held:
                view = load.view(frozenset(), line.model.room)
                assert not isinstance(pick(line.model.endpoints, view), Picked), "a lost wake-up"


@settings(max_examples=100)
@given(st.lists(OPERATIONS, min_size=10, max_size=80))
def test_whatever_happens_nobody_waits_while_there_is_room(operations: list[Any]) -> None:
    loop = VirtualLoop()

    async def story() -> None:
        shop = Shop(loop)
        for operation in operations:
            await shop.do(operation)
            shop.check()
        await asyncio.sleep(1000)
        await _tick()
        assert shop.desk.queues.whole == Backlog()
        while shop.places:
            shop.finish(0)
        assert shop.desk.load.in_flight == {}

    try:
        loop.run_until_complete(story())
    finally:
        loop.close()


def test_a_place_that_is_left_goes_to_who_waits_for_a_model_that_vanished_and_returned(
    desk: Desk,
) -> None:
    async def story() -> None:
        desk.publish(ONE)
        place = desk.take()
        desk.publish()
        desk.publish(ONE)
        held = desk.hold()
        place.leave()
        assert held.outcome.done()

    run(desk, story())


def test_no_bound_stands_against_one_that_has_waited_before(desk: Desk) -> None:
    async def story() -> None:
        full = replace(COLD, max_pending=1)
        desk.publish(full)
        desk.hold(full)
        refused = desk.queues.hold(full, 1)
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.QUEUE_FULL
        assert isinstance(desk.queues.hold(full, 1, since=900.0), Held)
        desk.publish(replace(full, phase="Failed"))
        assert isinstance(desk.queues.hold(full, 1, since=900.0), Refused)

    run(desk, story())


def test_who_waits_past_an_endpoint_gets_another_and_keeps_nobody_from_it(desk: Desk) -> None:
    async def story() -> None:
        both = replace(COLD, endpoints=(A, B), room=1)
        desk.publish(both)
        first, second = desk.take(both), desk.take(both)
        choosy = desk.queues.hold(both, 1, excluded=frozenset(first.endpoint.key))
        behind = desk.queues.hold(both, 1)
        assert isinstance(choosy, Held)
        assert isinstance(behind, Held)
        first.leave()
        assert not choosy.outcome.done()
        assert behind.outcome.result().endpoint is first.endpoint
        second.leave()
        assert choosy.outcome.result().endpoint is second.endpoint

    run(desk, story())


def test_who_waits_past_all_endpoints_there_are_tries_them_again(desk: Desk) -> None:
    async def story() -> None:
        both = replace(COLD, endpoints=(A, B), room=1)
        desk.publish(both)
        first, second = desk.take(both), desk.take(both)
        held = desk.queues.hold(both, 1, excluded=frozenset(first.endpoint.key))
        assert isinstance(held, Held)
        desk.publish(replace(both, endpoints=(first.endpoint,)))
        first.leave()
        assert held.outcome.result().endpoint is first.endpoint
        second.leave()

    run(desk, story())


def test_a_start_that_nobody_waits_for_any_more_is_not_measured(desk: Desk) -> None:
    async def story() -> None:
        desk.publish(COLD)
        waiting = desk.wait()
        await asyncio.sleep(30)
        waiting.cancel()
        await _tick()
        desk.loop.now += 3600
        desk.publish(ONE)
        desk.publish(COLD)
        assert desk.queues.estimate(COLD) is None

    run(desk, story())
