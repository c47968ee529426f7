"""The parts together: ports, supervision, and leaving in order."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from berth_gateway import connections, serve
from berth_gateway.errors import ConfigurationError
from berth_gateway.settings import AuthMode, Settings


@pytest.fixture
def settings(engine, tmp_path: Path) -> Settings:
    routes = tmp_path / "routes.yaml"
    routes.write_text(f"- {{model: llama, endpoints: ['{engine.url}']}}\n")
    return Settings(
        routes=routes,
        keys=None,
        namespace="",
        port=0,
        management_port=0,
        auth=AuthMode.NONE,
        settle_seconds=0,
        drain_seconds=1,
    )


class Process:
    """What `serve.run` is to a process, without the process."""

    def __init__(self, settings: Settings) -> None:
        self.stop = asyncio.Event()
        sockets = serve.listen(settings)
        port, management_port = (one.getsockname()[1] for one in (sockets.data, sockets.management))
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.management_url = f"http://127.0.0.1:{management_port}"
        self.task = asyncio.create_task(serve.serve(settings, sockets, self.stop))

    async def ready(self, http: aiohttp.ClientSession) -> int:
        response = await http.get(self.management_url + "/readyz")
        return response.status


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[Process]:
    process = Process(settings)
    yield process
    process.stop.set()
    await asyncio.wait_for(process.task, 5)


def _pausing(engine: Any) -> asyncio.Event:
    """Its answers begin, and end once the event is set."""
    go_on = asyncio.Event()

    async def stream(request: Any) -> None:
        await request.start_stream()
        await request.event("first")
        await go_on.wait()
        await request.end_stream()

    engine.behave = stream
    return go_on


async def _leaves_within_a_stream(
    process: Process, door: str, http: aiohttp.ClientSession, go_on: asyncio.Event
) -> None:
    response = await http.post(door + "/v1/chat/completions", json={"model": "llama"})
    assert await response.content.readany() == b"data: first\n\n"
    process.stop.set()
    while await process.ready(http) != 503:
        pass
    go_on.set()
    assert await response.read() == b"data: [DONE]\n\n"


async def test_a_process_with_few_open_files_says_how_many_connections_it_takes(
    settings, http, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(connections, "room", lambda most: min(most, 1))
    async with _running(settings) as process:
        assert await process.ready(http) == 200

    told = "room for 1 connections and not for 8192: raise the limit of open files"
    assert told in caplog.text


async def test_it_answers_on_both_ports(settings, http) -> None:
    async with _running(settings) as process:
        assert await process.ready(http) == 200
        response = await http.post(process.url + "/v1/chat/completions", json={"model": "llama"})
        assert response.status == 200
        metrics = await (await http.get(process.management_url + "/metrics")).text()
    assert 'berth_gateway_requests_total{code="200",model="llama",namespace=""} 1.0' in metrics


async def test_the_pages_requests_are_answered_and_counted_as_any(settings, http) -> None:
    async with _running(settings) as process:
        url = process.management_url
        assert (await http.get(url + "/ui/")).status == 200
        response = await http.post(url + "/v1/chat/completions", json={"model": "llama"})
        assert response.status == 200
        (tag,) = (await (await http.get(url + "/api/tags")).json())["models"]
        assert tag["name"] == "llama:latest"
        told = await (await http.get(url + "/ui/state")).json()
        assert [one["id"] for one in told["models"]] == ["llama"]
        metrics = await (await http.get(url + "/metrics")).text()
    assert 'berth_gateway_requests_total{code="200",model="llama",namespace=""} 1.0' in metrics


async def test_a_pages_stream_comes_to_its_end_on_leaving(settings, http, engine) -> None:
    go_on = _pausing(engine)
    async with _running(settings) as process:
        await _leaves_within_a_stream(process, process.management_url, http, go_on)


async def test_a_client_that_leaves_a_pages_stream_closes_the_engines(
    settings, http, engine
) -> None:
    left = asyncio.Event()

    async def stream(request: Any) -> None:
        await request.start_stream()
        await request.event("first")
        try:
            while True:
                await request.event("more")
                await asyncio.sleep(0.01)
        except ConnectionError:
            left.set()
            raise

    engine.behave = stream
    async with _running(settings) as process:
        url = process.management_url + "/v1/chat/completions"
        response = await http.post(url, json={"model": "llama"})
        assert (await response.content.readany()).startswith(b"data: first")
        response.close()
        await asyncio.wait_for(left.wait(), 5)


async def test_on_leaving_it_is_not_ready_and_streams_come_to_their_end(
    settings, http, engine
) -> None:
    go_on = _pausing(engine)
    async with _running(settings) as process:
        await _leaves_within_a_stream(process, process.url, http, go_on)


async def _closed(port: int) -> None:
    """Until the door is."""
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.02)


async def test_a_request_on_its_way_over_an_idle_connection_is_answered_after_the_door_closed(
    settings, http
) -> None:
    async with _running(replace(settings, settle_seconds=1)) as process:
        url = process.url + "/v1/chat/completions"
        first = await http.post(url, json={"model": "llama"})
        await first.read()
        process.stop.set()
        await _closed(process.port)  # and uvicorn would have closed this one as well
        second = await http.post(url, json={"model": "llama"})
        assert (second.status, second.headers["connection"]) == (200, "close")


async def test_an_idle_connection_keeps_the_process_no_longer_than_the_door(settings, http) -> None:
    async with _running(replace(settings, settle_seconds=0)) as process:
        response = await http.post(process.url + "/v1/chat/completions", json={"model": "llama"})
        await response.read()
        process.stop.set()
        await asyncio.wait_for(asyncio.shield(process.task), 3)


@pytest.mark.parametrize("port", ["url", "management_url"])
async def test_a_stream_without_end_is_cut_at_the_bound(settings, http, engine, port) -> None:
    async def never_ends(request: Any) -> None:
        await request.start_stream()
        await request.event("first")
        await asyncio.Event().wait()

    engine.behave = never_ends
    async with _running(replace(settings, drain_seconds=0)) as process:
        response = await http.post(
            getattr(process, port) + "/v1/chat/completions", json={"model": "llama"}
        )
        await response.content.readany()
        process.stop.set()
        await asyncio.wait_for(asyncio.shield(process.task), 3)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_request_that_waits_beyond_the_bound_is_told_to_come_back(
    settings, http, engine, kit
) -> None:
    async def never_answers(request: Any) -> None:
        await asyncio.Event().wait()

    engine.behave = never_answers
    async with _running(replace(settings, drain_seconds=0)) as process:
        asking = asyncio.create_task(
            http.post(process.url + "/v1/chat/completions", json={"model": "llama"})
        )
        await kit.until(lambda: engine.received)
        process.stop.set()
        response = await asyncio.wait_for(asking, 3)

    assert response.status == 503
    assert (await response.json())["error"]["code"] == "gateway_leaving"


@pytest.fixture
def full(settings, engine) -> Settings:
    """One endpoint that takes one request, and is at it for ever."""

    async def never_answers(request: Any) -> None:
        await asyncio.Event().wait()

    engine.behave = never_answers
    settings.routes.write_text(f"- {{model: llama, endpoints: ['{engine.url}'], maxInFlight: 1}}\n")
    return replace(settings, drain_seconds=0)


async def _fill(process: Process, http: aiohttp.ClientSession, kit: Any, engine: Any) -> list[Any]:
    ask = process.url + "/v1/chat/completions"
    asking = [asyncio.create_task(http.post(ask, json={"model": "llama"}))]
    await kit.until(lambda: engine.received)
    asking.append(asyncio.create_task(http.post(ask, json={"model": "llama"})))
    return asking


# A tenth is the gateway's, as `state/test_demand.py` has it to the tenth; the rest is a busy machine's.
TOLD_SECONDS = 2.0


async def test_the_operator_hears_of_a_held_request_within_a_tenth_of_a_second(
    full, http, engine, kit
) -> None:
    async with _running(full) as process:
        stream = await http.get(process.management_url + "/demand")
        assert stream.headers["content-type"].startswith("application/x-ndjson")
        first = json.loads(await stream.content.readline())
        asking = await _fill(process, http, kit, engine)
        began = asyncio.get_running_loop().time()
        while (
            not (last := json.loads(await stream.content.readline()))["models"][:1]
            or not last["models"][0]["held"]
        ):
            pass
        took = asyncio.get_running_loop().time() - began
        once = await (await http.get(process.management_url + "/demand?once=1")).json()
        for task in asking:
            task.cancel()

    assert first["synced"] is True
    assert first["gateway"] == last["gateway"] == once["gateway"]
    times = {"oldestHeldSeconds": 0, "idleSeconds": 0, "askedSeconds": 0}
    assert last["models"][0] | times == {
        "namespace": "", "model": "llama", "held": 1, "oldestHeldSeconds": 0,
        "inFlight": {engine.url: 1}, "arrivals": 2, "answered": 0,
        "idleSeconds": 0, "askedSeconds": 0,
    }  # fmt: skip
    assert once["models"][0]["held"] == 1
    assert took < TOLD_SECONDS


async def test_on_leaving_those_who_wait_are_sent_elsewhere_once_the_door_closes(
    full, http, engine, kit
) -> None:
    async with _running(full) as process:
        _, held = await _fill(process, http, kit, engine)
        await asyncio.sleep(0.1)
        process.stop.set()
        response = await asyncio.wait_for(held, 3)

    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert (await response.json())["error"]["code"] == "gateway_leaving"


async def test_a_background_part_that_dies_ends_the_process(settings, monkeypatch) -> None:
    async def dies(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(serve, "_beat", dies)
    process = Process(settings)
    with pytest.RaisesGroup(ZeroDivisionError):
        await asyncio.wait_for(process.task, 5)


def test_a_port_that_is_taken_names_the_flag_and_the_fix(settings) -> None:
    taken = serve.listen(settings)
    port = taken.data.getsockname()[1]
    with pytest.raises(ConfigurationError, match=f"^--port {port} is in use; give another --port"):
        serve.listen(replace(settings, port=port))
    for one in (taken.data, taken.management):
        one.close()


async def test_a_client_whose_host_died_is_noticed_by_tcp(settings) -> None:
    sockets = serve.listen(settings)
    with socket.create_connection(sockets.data.getsockname()[:2]):
        accepted, _ = sockets.data.accept()
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    for one in (accepted, sockets.data, sockets.management):
        one.close()
