from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
import pooled
import pytest
from aiohttp import web
from fakes.cluster import FakeCluster, Fault

from berth_api import names
from berth_api.pool_server import EngineOrders
from berth_operator.cluster.pools import orders
from berth_operator.cluster.pools.orders import DirectOrders, ProxiedOrders, judge
from berth_operator.errors import Conflict, Denied, Unavailable

ORDERS = EngineOrders(sequence=7, engines=[])
POD = pooled.pod_object()


async def test_orders_go_through_the_api_server_with_the_pools_key() -> None:
    cluster, heard = FakeCluster(), []

    def obey(body: dict, headers: dict) -> tuple[int, bytes]:
        heard.append((body["sequence"], headers[names.HEADER_POOL_KEY]))
        return HTTPStatus.OK, b""

    cluster.obeying["shared-pool-0"] = obey
    await ProxiedOrders(cluster).put(POD, ORDERS, "secret")
    assert heard == [(7, "secret")]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (HTTPStatus.CONFLICT, Conflict),
        (HTTPStatus.UNPROCESSABLE_ENTITY, Denied),
        (HTTPStatus.UNAUTHORIZED, Denied),
        (HTTPStatus.BAD_GATEWAY, Unavailable),
    ],
)
def test_an_answer_that_is_no_consent_is_an_error_with_the_pods_words(
    status: HTTPStatus, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"shared-pool-0 answered .*: engines: too many"):
        judge(status, b"engines: too many", POD)


def test_a_long_answer_is_cut() -> None:
    with pytest.raises(Denied) as raised:
        judge(HTTPStatus.UNPROCESSABLE_ENTITY, b"x" * 10**6, POD)
    assert len(str(raised.value)) < 3000


async def test_a_lost_answer_is_told_as_it_is() -> None:
    cluster = FakeCluster(faults=[Fault(Unavailable("reset"))])
    with pytest.raises(Unavailable, match="reset"):
        await ProxiedOrders(cluster).put(POD, ORDERS, "secret")


@asynccontextmanager
async def listening(status: int) -> AsyncIterator[tuple[int, list[tuple[str, str]]]]:
    """A pod's status port on this machine: its number, and what it heard."""
    heard: list[tuple[str, str]] = []

    async def obey(request: web.Request) -> web.Response:
        heard.append((request.headers[names.HEADER_POOL_KEY], (await request.json())["sequence"]))
        return web.Response(status=status, text="said")

    application = web.Application()
    application.router.add_put(names.PATH_ENGINES, obey)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1], heard
    finally:
        await runner.cleanup()


LOCAL = POD | {"status": POD["status"] | {"podIP": "127.0.0.1"}}


async def test_a_pod_is_told_at_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(200) as (port, heard), aiohttp.ClientSession() as session:
        monkeypatch.setattr(orders.names, "PORT_SERVER_STATUS", port)
        await DirectOrders(session).put(LOCAL, ORDERS, "secret")
    assert heard == [("secret", 7)]


async def test_a_pod_that_has_newer_orders_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(409) as (port, _), aiohttp.ClientSession() as session:
        monkeypatch.setattr(orders.names, "PORT_SERVER_STATUS", port)
        with pytest.raises(Conflict, match="said"):
            await DirectOrders(session).put(LOCAL, ORDERS, "secret")


async def test_a_pod_that_does_not_listen_is_told_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with listening(200) as (port, _):
        pass
    monkeypatch.setattr(orders.names, "PORT_SERVER_STATUS", port)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Unavailable, match="/engines"):
            await DirectOrders(session).put(LOCAL, ORDERS, "secret")
