"""Which connection the next request gets."""

import socket
from typing import Any

import pytest

from berth_gateway.errors import EndpointFailedError, Failure
from berth_gateway.upstream.pool import POOL_IDLE_SECONDS, Pool


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def pool(now: list[float]) -> Any:
    made = Pool(lambda: now[0])
    yield made
    made.close()


async def _use(pool: Pool, *connections: Any, url: str) -> None:
    """One request on each, given back in this order."""
    for connection in connections:
        connection.ask(b"/v1/completions", b"", b"{}")
        while await connection.piece():
            pass
        pool.give_back(url, connection)


async def test_the_connection_used_last_is_taken_first(pool, engine) -> None:
    first, second = [await pool.connect(engine.url) for _ in range(2)]
    await _use(pool, first, second, url=engine.url)

    assert [pool.take(engine.url) for _ in range(3)] == [second, first, None]


async def test_one_that_was_idle_for_too_long_is_not_taken_nor_are_older_ones(
    pool, engine, now
) -> None:
    await _use(pool, *[await pool.connect(engine.url) for _ in range(2)], url=engine.url)
    now[0] += POOL_IDLE_SECONDS + 0.1

    assert pool.take(engine.url) is None
    assert pool.take(engine.url) is None


async def test_one_that_the_engine_has_closed_is_not_taken(pool, engine, kit) -> None:
    connection = await pool.connect(engine.url)
    await _use(pool, connection, url=engine.url)
    engine.received[0].writer.close()
    await kit.until(lambda: connection._transport is None)

    assert pool.take(engine.url) is None


async def test_an_answer_that_was_given_up_is_not_used_again(pool, engine) -> None:
    connection = await pool.connect(engine.url)
    connection.ask(b"/", b"", b"{}")
    pool.give_back(engine.url, connection)

    assert pool.take(engine.url) is None


async def test_a_sweep_ends_what_nobody_asks_for(pool, engine, now, kit) -> None:
    await _use(pool, await pool.connect(engine.url), url=engine.url)
    now[0] += POOL_IDLE_SECONDS + 0.1
    pool._sweep()

    await kit.until(engine.left.is_set)
    assert not pool._origins


async def test_connections_stay_alive_and_send_at_once(pool, engine) -> None:
    connection = await pool.connect(engine.url)
    one = connection._transport.get_extra_info("socket")

    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_nothing_there_is_a_failure_to_connect(pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(EndpointFailedError) as caught:
        await pool.connect(url)
    assert caught.value.failure is Failure.CONNECT


async def test_a_name_that_leads_nowhere_is_one_too(pool) -> None:
    with pytest.raises(EndpointFailedError) as caught:
        await pool.connect("http://nowhere.invalid:8000")
    assert caught.value.failure is Failure.CONNECT


async def test_no_answer_to_the_handshake_is_one_in_time(pool, monkeypatch) -> None:
    monkeypatch.setattr("berth_gateway.upstream.pool.CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(EndpointFailedError, match=r"no connection within 0\.05 s"):
            await pool.connect(url)
        for one in waiting:
            one.close()
