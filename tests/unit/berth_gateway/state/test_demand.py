import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes.virtual_loop import VirtualLoop

from berth_api.demand import Demand, ModelDemand
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.state import demand
from berth_gateway.state.load import Load
from berth_gateway.state.queues import Held, Place, Queues

A = Endpoint("uid-a", "http://a", "pod-a")
MODEL = Model(key="1", name="llama", namespace="team", endpoints=(A,), room=2)


@pytest.fixture
def queues() -> Queues:
    return Queues(Load(), Backlog(100, 1000))


def _told(queues: Queues) -> list[ModelDemand]:
    return demand.demand(queues, "gw-1", synced=True).models


def test_a_gateway_without_a_request_says_that_it_is_there(queues) -> None:
    queues.publish(build([MODEL]))

    assert demand.demand(queues, "gw-1", synced=False) == Demand(gateway="gw-1", synced=False)


async def test_what_waits_is_told_beside_what_is_in_flight(queues) -> None:
    queues.publish(build([MODEL]))
    for _ in range(2):
        queues.arrived(MODEL)
        assert isinstance(queues.take(MODEL), Place)
    queues.arrived(MODEL)
    assert isinstance(queues.hold(MODEL, 10), Held)
    queues.answered(MODEL)
    await asyncio.sleep(0.02)
    (told,) = _told(queues)

    assert told.oldest_held_seconds >= 0.01
    assert told.idle_seconds is not None
    assert told.idle_seconds >= 0.01
    assert told.asked_seconds is not None
    assert told.asked_seconds >= 0.01
    timeless = {"oldest_held_seconds": 0.0, "idle_seconds": None, "asked_seconds": None}
    assert told.model_copy(update=timeless) == ModelDemand(
        namespace="team", model="llama", held=1, in_flight={"uid-a": 2}, arrivals=3, answered=1
    )


def test_a_pod_that_has_left_is_told_until_its_last_answer_ends(queues) -> None:
    queues.publish(build([MODEL]))
    place = queues.take(MODEL)
    queues.publish(build([replace(MODEL, endpoints=())]))
    assert [one.in_flight for one in _told(queues)] == [{"uid-a": 1}]

    place.leave()
    assert _told(queues) == []


def test_a_model_that_has_vanished_is_dropped(queues) -> None:
    queues.publish(build([MODEL]))
    queues.arrived(MODEL)
    queues.publish(build([]))

    assert _told(queues) == []


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


class Reader:
    """Reads the lines as they come, with when they came."""

    def __init__(self, queues: Queues) -> None:
        self.lines: list[tuple[float, dict[str, Any]]] = []
        self.over = False
        self._queues = queues
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        state = lambda: demand.demand(self._queues, "gw-1", synced=True)  # noqa: E731
        changed = lambda: demand.stamp(self._queues)  # noqa: E731
        async for line in demand.lines(state, changed, lambda: self.over):
            assert line.endswith(b"\n")
            self.lines.append((asyncio.get_running_loop().time(), json.loads(line)))

    async def end(self) -> None:
        self.over = True
        await asyncio.wait_for(self.task, 1)


def test_the_first_line_comes_at_once_and_a_held_request_is_told_within_100_ms(
    queues, loop, kit
) -> None:
    queues.publish(build([replace(MODEL, endpoints=())]))

    async def play() -> tuple[float, dict[str, Any]]:
        reader = Reader(queues)
        await asyncio.sleep(0.15)
        assert len(reader.lines) == 1
        assert reader.lines[0][0] == pytest.approx(loop.time() - 0.15)
        held_at = loop.time()
        queues.hold(MODEL, 10)
        await kit.until(lambda: len(reader.lines) > 1)
        await reader.end()
        at, line = reader.lines[1]
        return at - held_at, line

    took, line = loop.run_until_complete(play())
    assert line["models"][0]["held"] == 1
    assert took < 0.1


def test_many_changes_are_few_lines_and_the_last_state_is_told(queues, loop, kit) -> None:
    queues.publish(build([MODEL]))

    async def play() -> list[float]:
        reader = Reader(queues)
        for _ in range(100):
            queues.arrived(MODEL)
            await asyncio.sleep(0.003)
        await kit.until(lambda: reader.lines[-1][1]["models"][0]["arrivals"] == 100)
        await reader.end()
        return [at for at, _ in reader.lines]

    times = loop.run_until_complete(play())
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) >= 0.1 - 1e-6  # of the clock's own rounding
    assert 3 <= len(times) <= 5


def test_without_a_change_a_line_a_second_says_that_the_gateway_lives(
    queues, loop, kit, monkeypatch
) -> None:
    monkeypatch.setattr(demand, "HEARTBEAT_SECONDS", 0.15)

    async def play() -> list[float]:
        reader = Reader(queues)
        await kit.until(lambda: len(reader.lines) == 3)
        await reader.end()
        return [at for at, _ in reader.lines]

    times = loop.run_until_complete(play())
    assert 0.3 - 1e-6 <= times[2] - times[0] <= 0.35  # it looks some times in a tenth
