import asyncio
from datetime import timedelta
from typing import Any

import builders
from fakes.cluster import FakeCluster, Fault

from berth_operator.cluster import kinds
from berth_operator.cluster.events import BURST_EVENTS, SILENCE_SECONDS, EventRecorder
from berth_operator.core.outcome import Event, EventType
from berth_operator.errors import Unavailable

CR = {"metadata": {"name": "smol", "namespace": "team", "uid": "u1"}}
READY = Event(EventType.NORMAL, "Ready", "1 of 1 replicas serve")


class Bench:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.cluster = FakeCluster()
        self.recorder = EventRecorder(
            self.cluster,
            clock=lambda: self.seconds,
            wall_clock=lambda: builders.NOW + timedelta(seconds=self.seconds),
            instance="operator-1",
        )

    async def post(self, event: Event, cr: Any = CR) -> list[dict[str, Any]]:
        """Posts, and returns all Events that exist afterwards."""
        self.recorder.post(cr, event)
        running = asyncio.create_task(self.recorder.run())
        while not self.recorder._queue.empty():  # noqa: ASYNC110 -- no event tells
            await asyncio.sleep(0)
        running.cancel()
        return await self.cluster.list_all(kinds.EVENT)


async def test_an_event_tells_about_the_model() -> None:
    (found,) = await Bench().post(READY)
    assert found["involvedObject"]["uid"] == "u1"
    assert (found["type"], found["reason"], found["count"]) == ("Normal", "Ready", 1)
    assert found["lastTimestamp"] == "2026-01-02T03:04:05Z"


async def test_a_repetition_is_dropped_and_later_counted_on_the_same_object() -> None:
    bench = Bench()
    await bench.post(READY)
    bench.seconds = SILENCE_SECONDS - 1
    (found,) = await bench.post(READY)
    assert found["count"] == 1
    bench.seconds = SILENCE_SECONDS
    (found,) = await bench.post(READY)
    assert found["count"] == 2
    assert found["firstTimestamp"] < found["lastTimestamp"]


async def test_other_words_and_other_models_are_events_of_their_own() -> None:
    bench = Bench()
    await bench.post(READY)
    await bench.post(Event(EventType.NORMAL, "Ready", "2 of 2 replicas serve"))
    found = await bench.post(READY, {"metadata": CR["metadata"] | {"uid": "u2"}})
    assert len(found) == 3


async def test_a_flood_is_cut_to_a_burst_and_then_a_rate() -> None:
    bench = Bench()
    for number in range(1000):
        bench.recorder.post(CR, Event(EventType.WARNING, "Flood", str(number)))
    assert len(await bench.post(READY)) == BURST_EVENTS
    bench.seconds += 1
    for number in range(1000):
        bench.recorder.post(CR, Event(EventType.WARNING, "Flood", f"again {number}"))
    assert len(await bench.post(READY)) == BURST_EVENTS + 10


async def test_an_event_that_cannot_be_posted_is_let_go() -> None:
    bench = Bench()
    bench.cluster.faults.append(Fault(Unavailable("down")))
    assert await bench.post(READY) == []
    assert len(await bench.post(Event(EventType.NORMAL, "Other", "words"))) == 1
