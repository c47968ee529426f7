"""One application, asked from another loop: what is said, cancelled and refused across the gap."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_site import until

from berth_gateway.page import bridge as bridging
from berth_gateway.page.bridge import Bridge

SECONDS = 5.0


class Thread:
    """A loop that runs elsewhere, as the data path's does."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def other() -> Iterator[Thread]:
    made = Thread()
    yield made
    made.end()


class Client:
    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []
        self.threads: set[str] = set()

    async def receive(self) -> dict[str, Any]:
        self.threads.add(threading.current_thread().name)
        if not self.messages:
            await asyncio.sleep(SECONDS)
        return self.messages.pop(0)

    async def send(self, message: dict[str, Any]) -> None:
        self.threads.add(threading.current_thread().name)
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.sent[1]["body"])["error"]


def scope(**headers: str) -> dict[str, Any]:
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "path": "/v1/models", "headers": fields}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    said = await receive()
    name = threading.current_thread().name.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"thread", name)]})
    await send({"type": "http.response.body", "body": said["body"]})


async def test_the_application_runs_in_its_own_loop_and_the_client_in_this(other) -> None:
    client = Client({"type": "http.request", "body": b"hello"})
    await Bridge(echo, other.loop)(scope(), client.receive, client.send)

    head, body = client.sent
    assert head["headers"] == [(b"thread", other.thread.name.encode())]
    assert body["body"] == b"hello"
    assert client.threads == {threading.current_thread().name}


async def test_a_client_that_is_cut_off_cancels_its_work(other) -> None:
    began, cancelled = threading.Event(), threading.Event()

    async def work(scope: Any, receive: Any, send: Any) -> None:
        began.set()
        try:
            await asyncio.sleep(SECONDS)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    client = Client()
    asked = asyncio.create_task(Bridge(work, other.loop)(scope(), client.receive, client.send))
    assert await asyncio.to_thread(began.wait, SECONDS)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await asyncio.to_thread(cancelled.wait, SECONDS)


async def test_a_client_that_leaves_while_it_is_sent_to_is_an_error_over_there(other) -> None:
    met: list[BaseException] = []

    async def talk(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except OSError as error:
            met.append(error)

    async def gone(message: Any) -> None:
        raise OSError("gone")

    await Bridge(talk, other.loop)(scope(), Client().receive, gone)
    assert len(met) == 1


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8081"}, 200),
        ({"origin": "https://127.0.0.1:8081"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_a_page_of_another_origin_is_refused(other, origin: dict, status: int) -> None:
    client = Client({"type": "http.request", "body": b""})
    asked = scope(host="127.0.0.1:8081", **origin)
    await Bridge(echo, other.loop)(asked, client.receive, client.send)

    assert client.status == status


async def test_it_takes_so_many_at_a_time(other, monkeypatch) -> None:
    monkeypatch.setattr(bridging, "MAX_REQUESTS", 1)
    go_on = asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    bridge = Bridge(wait, other.loop)
    first = Client({"type": "http.request", "body": b""})
    asked = asyncio.create_task(bridge(scope(), first.receive, first.send))
    await asyncio.sleep(0)
    second = Client()
    await bridge(scope(), second.receive, second.send)
    assert (second.status, second.error["code"]) == (503, "gateway_full")

    other.loop.call_soon_threadsafe(go_on.set)
    await asked
    third = Client({"type": "http.request", "body": b""})
    await bridge(scope(), third.receive, third.send)
    assert (first.status, third.status) == (200, 200)


async def test_on_leaving_it_waits_for_who_is_there_and_takes_nobody_new(other) -> None:
    bridge = Bridge(echo, other.loop)
    slow = Client()
    asked = asyncio.create_task(bridge(scope(), slow.receive, slow.send))
    await until(lambda: slow.threads, seconds=SECONDS)
    drained = asyncio.run_coroutine_threadsafe(bridge.drained(SECONDS), other.loop)
    await until(lambda: bridge._leaving, seconds=SECONDS)
    late = Client()
    await bridge(scope(), late.receive, late.send)
    assert (late.status, late.error["code"]) == (503, "gateway_leaving")
    assert not drained.done()

    asked.cancel()
    await asyncio.wait_for(asyncio.wrap_future(drained), SECONDS)


async def test_on_leaving_it_waits_no_longer_than_it_may(other) -> None:
    bridge = Bridge(echo, other.loop)
    slow = Client()
    asked = asyncio.create_task(bridge(scope(), slow.receive, slow.send))
    await until(lambda: slow.threads, seconds=SECONDS)
    drained = asyncio.run_coroutine_threadsafe(bridge.drained(0.05), other.loop)
    await asyncio.wait_for(asyncio.wrap_future(drained), SECONDS)

    assert not asked.done()
    asked.cancel()
