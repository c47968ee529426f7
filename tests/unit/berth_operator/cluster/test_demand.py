"""Hearing gateways on real sockets: what they tell, and everything that can go wrong with it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from fakes.cluster import FakeCluster, Fault
from fakes.gateway import SELECTOR, FakeGateway

from berth_operator.cluster import demand, demand_calls, kinds
from berth_operator.cluster.cache import ModelKey
from berth_operator.cluster.demand import DemandFeed
from berth_operator.cluster.demand_calls import DirectCalls, ProxiedCalls, lines
from berth_operator.cluster.wakes import PATIENCE_SECONDS
from berth_operator.core.outcome import Attention
from berth_operator.errors import Denied, Unavailable

KEY = ModelKey("team", "smol")
NAMESPACE = "berth-system"
SOON_SECONDS = 5.0


@dataclass
class Listener:
    """An operator's ear, and the models that it wants to be looked at, with the times."""

    cluster: FakeCluster
    feed: DemandFeed
    looks: list[tuple[ModelKey, float]] = field(default_factory=list)

    def add(self, gateway: FakeGateway, **pod: Any) -> None:
        self.cluster.put(gateway.pod(**pod))

    def remove(self, gateway: FakeGateway) -> None:
        self.cluster.remove(kinds.POD, NAMESPACE, gateway.name)

    def load(self) -> Any:
        return self.feed.load(KEY)

    async def until(self, true: Callable[[], Any], seconds: float = SOON_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 -- what it waits for has no event
                await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(*gateways: FakeGateway) -> AsyncIterator[Listener]:
    cluster = FakeCluster()
    looks: list[tuple[ModelKey, float]] = []

    def look(keys: Iterable[ModelKey]) -> None:
        looks.extend((key, time.monotonic()) for key in keys)

    async with aiohttp.ClientSession() as session:
        feed = DemandFeed(
            cluster,
            DirectCalls(session),
            look,
            namespace=NAMESPACE,
            selector=SELECTOR,
            clock=time.monotonic,
            chance=random.Random(7),
        )
        listener = Listener(cluster, feed, looks)
        for gateway in gateways:
            listener.add(gateway)
        running = asyncio.create_task(feed.run())
        try:
            yield listener
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway().running() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed, and a pod that cannot be watched is tried again, within a moment."""
    monkeypatch.setattr(demand, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(demand, "BACKOFF_BASE_SECONDS", 0.02)


async def test_what_a_gateway_tells_is_the_load(gateway: FakeGateway) -> None:
    gateway.say(held=2, in_flight={"p1": 3}, arrivals=5)
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().held == 2)
        load = listener.load()
        assert (load.in_flight, load.gateways, load.complete) == ({"p1": 3}, 1, True)


async def test_a_request_that_waits_wakes_its_model_at_once(gateway: FakeGateway) -> None:
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().complete)
        listener.feed.attend(KEY, Attention(capacity=0))
        began = time.monotonic()
        gateway.say(held=1)
        await listener.until(lambda: listener.looks)
        key, at = listener.looks[0]
        assert key == KEY
        assert at - began < 0.25


async def test_more_than_its_replicas_take_is_looked_at_at_once_and_less_a_moment_later(
    gateway: FakeGateway,
) -> None:
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().complete)
        listener.feed.attend(KEY, Attention(capacity=8))
        gateway.say(in_flight={"p1": 1})
        await listener.until(lambda: len(listener.looks) == 1)
        for count in range(2, 9):
            gateway.say(in_flight={"p1": count})
        await listener.until(lambda: sum(listener.load().in_flight.values()) == 8)
        assert len(listener.looks) == 1
        gateway.say(in_flight={"p1": 9})
        await listener.until(lambda: len(listener.looks) == 2)
        first, second = (at for _, at in listener.looks)
        assert second - first < PATIENCE_SECONDS


async def test_a_busy_model_is_looked_at_once_a_second_at_most(gateway: FakeGateway) -> None:
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().complete)
        listener.feed.attend(KEY, Attention(capacity=100))
        began = time.monotonic()
        for count in range(120):
            gateway.say(in_flight={"p1": 1 + count % 50}, arrivals=count)
            await asyncio.sleep(0.02)
        elapsed = time.monotonic() - began
        assert 1 <= len(listener.looks) <= elapsed / PATIENCE_SECONDS + 1


async def test_at_rest_nothing_is_looked_at(gateway: FakeGateway) -> None:
    gateway.say(in_flight={"p1": 1}, arrivals=5)
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().complete)
        listener.feed.attend(KEY, Attention(capacity=8))
        await asyncio.sleep(1.2)
        listener.looks.clear()
        await asyncio.sleep(2.2)  # two heartbeats
        assert listener.looks == []


_MODEL = b'{"namespace": "team", "model": "smol"'
GARBAGE = {
    "no JSON": b"hello\n",
    "another JSON": b"[1, 2]\n",
    "a missing field": b'{"protocol": 1}\n',
    "a count that is none": b'{"gateway": "g", "synced": true, "models": [{"held": "x"}]}\n',
    "a count below zero": b'{"gateway": "g", "synced": true, "models": [%s, "held": -1}]}\n'
    % _MODEL,
    "no number": b'{"gateway": "g", "synced": true, "models": [%s, "oldest_held_seconds": NaN}]}\n'
    % _MODEL,
    "too large a number": b'{"gateway": "g", "synced": true, "models": [%s, "arrivals": 1e999}]}\n'
    % _MODEL,
    "no text": b"\xff\xfe\x00\n",
    "an empty line": b"\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_line_that_cannot_be_read_costs_the_connection_and_no_more(
    gateway: FakeGateway, garbage: bytes
) -> None:
    gateway.say(held=2)
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().held == 2)
        gateway.send(garbage)
        await listener.until(lambda: gateway.calls > 1)
        assert listener.load().held == 2
        gateway.say(held=3)
        await listener.until(lambda: listener.load().held == 3)


async def test_a_line_may_come_in_pieces(gateway: FakeGateway) -> None:
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().complete)
        gateway.silent = True
        gateway.say(held=4)
        line = gateway.line()
        for start in range(0, len(line), 40):
            gateway.send(line[start : start + 40])
            await asyncio.sleep(0.01)
        await listener.until(lambda: listener.load().held == 4)
        assert gateway.calls == 1


async def test_a_half_line_before_the_end_is_not_taken(gateway: FakeGateway) -> None:
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().complete)
        gateway.silent = True
        gateway.say(held=4)
        gateway.send(gateway.line()[:-10])
        gateway.cut()
        await listener.until(lambda: gateway.calls > 1)
        assert listener.load().held == 0


async def test_a_silent_gateway_is_called_again_and_its_requests_stay(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand_calls, "SILENCE_SECONDS", 0.2)
    gateway.say(held=2)
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().held == 2)
        gateway.silent = True
        await listener.until(lambda: gateway.calls > 1)
        load = listener.load()
        assert (load.held, load.complete) == (2, False)
        gateway.silent = False
        await listener.until(lambda: listener.load().complete)


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_gateway_that_refuses_is_waited_for(gateway: FakeGateway, status: int) -> None:
    gateway.status = status
    async with listening(gateway) as listener:
        await listener.until(lambda: gateway.calls > 2)
        assert not listener.load().complete
        gateway.status = 200
        await listener.until(lambda: listener.load().complete)


async def test_a_gateway_that_listens_late_is_heard() -> None:
    late = FakeGateway()
    async with late.running():
        pass  # its port is known, and nothing listens there
    async with listening(late) as listener:
        await asyncio.sleep(0.2)
        assert not listener.load().complete
        async with late.running():
            await listener.until(lambda: listener.load().complete)


async def test_a_gateway_that_becomes_ready_is_called_at_once_and_not_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demand, "BACKOFF_BASE_SECONDS", 60.0)
    monkeypatch.setattr(demand, "BACKOFF_CAP_SECONDS", 60.0)
    gateway = FakeGateway(status=503)
    async with gateway.running(), listening() as listener:
        listener.add(gateway, ready=False)
        await listener.until(lambda: gateway.calls == 1)
        gateway.status = 200
        listener.add(gateway, ready=True)
        await listener.until(lambda: listener.load().complete)
        assert gateway.calls == 2


async def test_a_gateway_that_is_replaced_is_forgotten_and_its_successor_heard(
    gateway: FakeGateway,
) -> None:
    gateway.say(held=2, arrivals=7)
    async with listening(gateway) as listener, FakeGateway("gateway-2").running() as successor:
        await listener.until(lambda: listener.load().held == 2)
        successor.say(held=1, arrivals=1)
        listener.add(successor)
        await listener.until(lambda: listener.load().held == 3)
        listener.remove(gateway)
        await asyncio.sleep(0.1)
        assert listener.load().held == 3  # its stream still tells
        gateway.cut()
        await listener.until(lambda: listener.load().held == 1)
        assert (listener.load().arrivals, listener.load().complete) == (8, True)
        assert listener.feed.gateways() == 1


async def test_a_pod_without_an_address_is_called_once_it_has_one(gateway: FakeGateway) -> None:
    async with listening() as listener:
        bare = gateway.pod(ready=False)
        listener.cluster.put(bare | {"status": {}})
        await asyncio.sleep(0.1)
        assert gateway.calls == 0
        listener.add(gateway)
        await listener.until(lambda: listener.load().complete)


async def test_a_pod_that_loses_its_address_ends_nothing(gateway: FakeGateway) -> None:
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().complete)
        pod = gateway.pod()
        conditions = pod["status"]["conditions"]
        listener.cluster.put(pod | {"status": {"conditions": conditions}})
        gateway.cut()
        await asyncio.sleep(0.2)
        assert not listener.load().complete
        listener.add(gateway)
        await listener.until(lambda: listener.load().complete)


async def test_pods_that_cannot_be_listed_are_tried_again(gateway: FakeGateway) -> None:
    async with listening() as listener:
        listener.cluster.faults.append(Fault(Denied("forbidden"), "list", times=3))
        listener.cluster.faults.append(Fault(Unavailable("away"), "list", times=3))
        listener.add(gateway)
        await listener.until(lambda: listener.load().complete)


async def test_a_deletion_that_the_watch_missed_is_found_by_the_next_list(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "WATCH_SECONDS", 0.2)
    gateway.say(held=2)
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().held == 2)
        del listener.cluster.objects[kinds.POD, NAMESPACE, gateway.name]
        await asyncio.sleep(0.5)
        gateway.cut()
        await listener.until(lambda: listener.load().held == 0)


async def test_models_that_waited_for_the_whole_truth_are_looked_at_once_it_is_there(
    gateway: FakeGateway,
) -> None:
    async with listening() as listener:
        listener.feed.attend(KEY, Attention(capacity=0))
        listener.feed.attend(ModelKey("team", "fixed"), Attention())
        listener.add(gateway)
        await listener.until(lambda: listener.looks)
        assert [key for key, _ in listener.looks] == [KEY]


async def test_a_model_that_is_gone_wakes_no_one(gateway: FakeGateway) -> None:
    async with listening(gateway) as listener:
        await listener.until(lambda: listener.load().complete)
        listener.feed.attend(KEY, Attention(capacity=8))
        gateway.say(in_flight={"p1": 1})
        await listener.until(lambda: listener.looks)
        listener.looks.clear()
        gateway.say(in_flight={"p1": 2})
        await listener.until(lambda: listener.load().in_flight == {"p1": 2})
        listener.feed.attend(KEY, None)
        await asyncio.sleep(PATIENCE_SECONDS + 0.2)
        assert listener.looks == []


async def _chunks(*given: bytes) -> AsyncIterator[bytes]:
    for one in given:
        yield one


async def test_lines_are_bounded() -> None:
    with pytest.raises(Unavailable, match="longer than 10 bytes"):
        _ = [line async for line in lines(_chunks(b"short\n", b"x" * 8, b"x" * 8), limit=10)]


async def test_the_end_of_a_stream_is_an_error() -> None:
    with pytest.raises(Unavailable, match="has ended"):
        _ = [line async for line in lines(_chunks(b"a\nb\n"))]


async def test_outside_the_cluster_the_api_server_is_the_way() -> None:
    cluster = FakeCluster(proxied={"gateway-1": b"line\n"})
    pod = FakeGateway(port=4711).pod()
    async with ProxiedCalls(cluster).open(pod, "/demand") as chunks:
        assert [chunk async for chunk in chunks] == [b"line\n"]
