import asyncio
import json

import pytest

from berth_server import drain
from berth_server.client import Reply
from berth_server.errors import EngineUnreachable


class FakeEngine:
    def __init__(self, *, stubborn=False):
        self.ended = False
        self.signals = []
        self._exit = asyncio.Event()
        self._stubborn = stubborn

    async def wait(self):
        await self._exit.wait()
        return 0

    def terminate(self):
        self.signals.append("TERM")
        if not self._stubborn:
            self.end()

    async def destroy(self):
        self.signals.append("KILL")
        self.end()

    def end(self):
        self.ended = True
        self._exit.set()


class FakeClient:
    """Answers each call with the next of `loads`, the last one for ever; None is silence."""

    def __init__(self, *loads):
        self.loads = list(loads)

    async def post(self, path, body, timeout_seconds):
        load = self.loads.pop(0) if len(self.loads) > 1 else self.loads[0]
        if load is None:
            raise EngineUnreachable("timed out")
        return Reply(200, json.dumps({"inFlight": load, "draining": True}).encode())

    async def get(self, path, timeout_seconds):
        return await self.post(path, None, timeout_seconds)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(drain, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(drain, "STOP_SECONDS", 0.02)


async def test_draining_ends_when_the_last_request_has():
    seen = []
    assert await drain.finish(FakeClient(2, 2, 1, 0), FakeEngine(), 5, seen.append) == 0
    assert seen == [2, 2, 1]


async def test_at_the_deadline_the_rest_is_cut():
    assert await drain.finish(FakeClient(3), FakeEngine(), 0.02, lambda _: None) == 3


async def test_a_busy_engine_that_does_not_answer_is_given_its_time():
    assert await drain.finish(FakeClient(None, None, 1, 0), FakeEngine(), 5, lambda _: None) == 0


async def test_an_engine_that_dies_while_draining_has_nothing_left():
    engine = FakeEngine()
    waiting = asyncio.create_task(drain.finish(FakeClient(3), engine, 5, lambda _: None))
    await asyncio.sleep(0.01)
    engine.end()
    assert await asyncio.wait_for(waiting, 1) == 0


async def test_an_engine_is_asked_before_it_is_made_to():
    engine = FakeEngine()
    assert await drain.stop(engine)
    assert engine.signals == ["TERM", "KILL"]


async def test_an_engine_that_ignores_sigterm_is_killed_in_time_and_the_log_says_so(caplog):
    engine = FakeEngine(stubborn=True)
    assert not await asyncio.wait_for(drain.stop(engine), 1)
    assert engine.signals == ["TERM", "KILL"]
    assert "SIGTERM" in caplog.text


async def test_a_load_that_is_no_number_is_no_answer():
    class Confused(FakeClient):
        async def get(self, path, timeout_seconds):
            return Reply(200, b"[]")

    with pytest.raises(EngineUnreachable):
        await drain.in_flight(Confused(0))


class Admitting:
    """Answers a DELETE with `reply`; None is silence."""

    def __init__(self, reply):
        self.reply = reply

    async def delete(self, path, timeout_seconds):
        if self.reply is None:
            raise EngineUnreachable("timed out")
        return Reply(200, self.reply)


@pytest.mark.parametrize(
    ("reply", "heard"),
    [
        (b'{"inFlight": 1, "draining": false}', True),
        (b'{"inFlight": 1, "draining": true}', False),  # of a server that knows no way back
        (b"[]", False),
        (b"<html>", False),
        (None, False),
    ],
)
async def test_a_drain_is_taken_back_when_the_engine_says_so(reply, heard):
    assert await drain.admit_again(Admitting(reply)) is heard
