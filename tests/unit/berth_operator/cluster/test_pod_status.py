from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fakes.cluster import FakeCluster

from berth_api import names
from berth_api.server import Phase, PodStatus
from berth_operator.cluster import pod_status
from berth_operator.cluster.pod_status import DirectReader, ProxyReader, with_reports

LOADING = PodStatus(phase=Phase.LOADING, percent=40).wire().encode()


def pod(name: str = "p1", *, running: bool = True, ready: bool = False, **status: Any) -> Any:
    state = {"running": {}} if running else {"waiting": {}}
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}"},
        "status": {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "containerStatuses": [{"state": state}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }
        | status,
    }


class Recorder:
    def __init__(self, body: bytes | None = LOADING) -> None:
        self.body = body
        self.asked: list[str] = []

    async def read(self, pod: Any) -> bytes | None:
        self.asked.append(pod["metadata"]["name"])
        return self.body


async def test_a_pod_that_comes_up_is_asked_how_far_it_is() -> None:
    (found,) = await with_reports([pod()], Recorder(), polled=())
    assert found.report is not None
    assert (found.report.phase, found.report.percent) == (Phase.LOADING, 40)


async def test_a_fetching_init_container_answers_for_its_pod() -> None:
    fetching = pod(
        running=False, phase="Pending", initContainerStatuses=[{"state": {"running": {}}}]
    )
    (found,) = await with_reports([fetching], Recorder(), polled=())
    assert found.report is not None


@pytest.mark.parametrize(
    "silent",
    [
        pod(ready=True),
        pod(running=False),
        pod(podIP=None),
        pod(phase="Succeeded"),
        pod() | {"metadata": pod()["metadata"] | {"deletionTimestamp": "now"}},
    ],
    ids=["ready", "no container runs", "no address", "finished", "on its way out"],
)
async def test_a_pod_that_has_nothing_to_tell_is_not_asked(silent: Any) -> None:
    recorder = Recorder()
    (found,) = await with_reports([silent], recorder, polled=())
    assert found.report is None
    assert recorder.asked == []


async def test_a_ready_pod_is_asked_when_the_last_decision_wished_so() -> None:
    (found,) = await with_reports([pod(ready=True)], Recorder(), polled=("uid-p1",))
    assert found.report is not None


@pytest.mark.parametrize("body", [None, b"", b"<html>", b'{"phase": "Dreaming"}'])
async def test_nonsense_counts_as_no_answer(body: bytes | None) -> None:
    (found,) = await with_reports([pod()], Recorder(body), polled=())
    assert found.report is None


async def _served(handler: Callable[[web.Request], Any], unused_tcp_port: int) -> web.AppRunner:
    application = web.Application()
    application.router.add_get(names.PATH_STATUS, handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    return runner


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (lambda: web.Response(body=LOADING), LOADING),
        (lambda: web.Response(status=503), None),
        (lambda: web.Response(body=b"x" * (pod_status.MAX_STATUS_BYTES + 1)), None),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), None),
    ],
    ids=["an answer", "an error", "too long", "a redirect"],
)
async def test_a_pod_is_read_directly(
    response: Callable[[], web.Response],
    expected: bytes | None,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return response()

    monkeypatch.setattr(names, "PORT_SERVER_STATUS", unused_tcp_port)
    runner = await _served(handler, unused_tcp_port)
    async with aiohttp.ClientSession() as session:
        assert await DirectReader(session).read(pod()) == expected
    await runner.cleanup()


async def test_a_pod_that_does_not_listen_gives_no_answer(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "PORT_SERVER_STATUS", unused_tcp_port)
    async with aiohttp.ClientSession() as session:
        assert await DirectReader(session).read(pod()) is None


async def test_a_pod_without_an_address_gives_no_answer() -> None:
    unaddressed = pod(ready=True)
    del unaddressed["status"]["podIP"]
    async with aiohttp.ClientSession() as session:
        assert await DirectReader(session).read(unaddressed) is None


async def test_a_pod_is_read_through_the_api_server() -> None:
    cluster = FakeCluster(proxied={"p1": LOADING})
    assert await ProxyReader(cluster).read(pod("p1")) == LOADING
    assert await ProxyReader(cluster).read(pod("p2")) is None
