import asyncio
import socket
import urllib.error
import urllib.request

import pytest
from fastapi.testclient import TestClient

from berth_api.server import Measured, Phase, PodStatus
from berth_api.shape import Failure
from berth_server import status
from berth_server.errors import ConfigurationError


@pytest.fixture
def state():
    return status.State(started_seconds=100.0, engine_names=("m",), expected_start_seconds=60)


def page(state, now=100.0) -> PodStatus:
    client = TestClient(status.pages(state, lambda: now))
    return PodStatus.model_validate_json(client.get("/status").content)


def test_a_pod_answers_before_anything_has_happened(state):
    assert page(state).phase is Phase.PENDING


def test_the_timeline_is_in_seconds_since_the_start(state):
    state.enter(Phase.STARTING, 100.5)
    state.read("m", "Starting to load model /m...", 112.0)
    found = page(state, 112.0)
    assert [(mark.phase, mark.at_seconds) for mark in found.timeline] == [
        (Phase.STARTING, 0.5),
        (Phase.LOADING, 12.0),
    ]
    assert found.eta_seconds == 48


def test_percent_belongs_to_its_phase(state):
    state.read("m", "Loading safetensors checkpoint shards:  50% Completed | 1/2", 101.0)
    assert page(state).percent == 50
    state.read("m", "Loading weights took 1 seconds", 102.0)
    assert page(state).percent is None
    state.read("m", "Loading safetensors checkpoint shards: 100% Completed | 2/2", 103.0)
    assert page(state).percent is None


def test_what_the_log_measured_is_reported_per_engine(state):
    state.read("m", "CPU KV cache size: 46,592 tokens, Maximum", 101.0)
    state.measure("m", Measured(resident_bytes=5))
    [engine] = page(state).engines
    assert engine.measured == Measured(kv_cache_tokens=46592, resident_bytes=5)


def test_what_an_engine_runs_and_keeps_waiting_is_told_once_it_was_scraped(state):
    [engine] = page(state).engines
    assert (engine.running, engine.waiting) == (None, None)
    state.requests["m"] = status.Requests(running=3, waiting=0)
    [engine] = page(state).engines
    assert (engine.running, engine.waiting) == (3, 0)


def test_a_failure_is_in_the_pods_and_the_engines_status(state):
    state.fail(Failure(reason="OutOfMemory", message="no room", fix="buy some"), 101.0)
    found = page(state)
    assert found.phase is Phase.FAILED
    assert found.failure == found.engines[0].failure
    assert found.message == "no room"


@pytest.mark.parametrize(
    ("phase", "draining", "code"),
    [
        (Phase.WARMING, False, 503),
        (Phase.SERVING, False, 200),
        (Phase.SERVING, True, 503),
        (Phase.DRAINING, True, 503),
        (Phase.FAILED, False, 503),
    ],
)
def test_ready_is_serving_and_not_draining(state, phase, draining, code):
    state.enter(phase, 101.0)
    state.draining = draining
    client = TestClient(status.pages(state, lambda: 101.0, patience_seconds=0))
    assert client.get("/readyz").status_code == code
    assert client.get("/livez").status_code == 200


async def test_a_probe_that_comes_too_early_hears_of_it_as_soon_as_the_pod_is_ready(state):
    state.enter(Phase.WARMING, 101.0)
    port = free_port()
    async with status.served(status.pages(state, lambda: 101.0, patience_seconds=30), port):
        probe = asyncio.create_task(asyncio.to_thread(answer, port, "/readyz"))
        await asyncio.sleep(0.2)
        assert not probe.done()
        state.enter(Phase.SERVING, 102.0)
        assert await asyncio.wait_for(probe, 2) == 200


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.DRAINING])
async def test_a_probe_does_not_wait_for_what_will_not_come(state, phase):
    state.enter(phase, 101.0)
    port = free_port()
    async with status.served(status.pages(state, lambda: 101.0, patience_seconds=30), port):
        probe = asyncio.to_thread(answer, port, "/readyz")
        assert await asyncio.wait_for(probe, 2) == 503


async def test_the_pages_are_served_while_the_block_runs(state):
    port = free_port()
    async with status.served(status.pages(state, lambda: 100.0), port):
        loop_reply = await _get(port)
    assert b'"phase":"Pending"' in loop_reply


async def test_a_taken_port_is_a_configuration_error(state):
    app = status.pages(state, lambda: 100.0)
    with (
        socket.create_server(("", 0)) as taken,
        pytest.raises(ConfigurationError, match="status port"),
    ):
        await status.served(app, taken.getsockname()[1]).__aenter__()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def _get(port: int) -> bytes:
    import asyncio

    def ask() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as reply:
            return reply.read()

    return await asyncio.to_thread(ask)


def answer(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as found:
            return found.status
    except urllib.error.HTTPError as error:
        return error.code
