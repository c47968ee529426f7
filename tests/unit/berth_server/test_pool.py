"""What a pool says and takes in; what it does is in tests/faults/berth_server/test_pool_life.py."""

import pytest
from pool_orders import GIB, POOL, order

from berth_api.pool_server import EngineOrders
from berth_api.server import Phase
from berth_server.cards import Memory
from berth_server.errors import OrdersRefused, OrdersTooLate
from berth_server.pool import Pool

CARD = Memory(16 * GIB, 15 * GIB)


async def driver():
    return {0: CARD, 1: CARD}


def body(*wanted, sequence=1) -> bytes:
    return EngineOrders(sequence=sequence, engines=list(wanted)).wire().encode()


@pytest.fixture
def pool():
    config = POOL.model_copy(update={"warm": False})
    return Pool(config, {0: CARD, 1: CARD}, {}, lambda: 0.0, driver)


def test_a_pod_without_orders_serves_nothing_and_takes_orders(pool):
    told = pool.snapshot(0.0)
    assert (told.phase, told.engines, told.sequence) == (Phase.SERVING, [], 0)
    assert pool.ready
    cards = [(card.total_bytes, card.free_bytes, card.granted_bytes) for card in told.cards]
    assert cards == [(16 * GIB, 15 * GIB, 0)] * 2


def test_what_is_ordered_is_told_before_it_is_begun(pool):
    pool.obey(body(order("a", attempt=3)))
    [engine] = pool.snapshot(0.0).engines
    assert (engine.id, engine.phase, engine.attempt) == ("a", Phase.PENDING, 3)
    assert (engine.port, engine.cards, engine.memory_bytes) == (8001, [0], 4 * GIB)


def test_refused_orders_change_nothing(pool):
    pool.obey(body(order("a"), sequence=5))
    with pytest.raises(OrdersRefused):
        pool.obey(body(order("b", gib=20), sequence=6))
    with pytest.raises(OrdersTooLate, match="sequence 4: 5 was seen"):
        pool.obey(body(sequence=4))
    told = pool.snapshot(0.0)
    assert (told.sequence, [engine.id for engine in told.engines]) == (5, ["a"])


def test_the_same_orders_again_are_obeyed_again(pool):
    for _ in range(2):
        pool.obey(body(order("a"), sequence=5))
    assert pool.snapshot(0.0).sequence == 5


def test_no_key_is_in_the_status(pool):
    pool.obey(body(order("a")))
    assert order("a").key not in pool.snapshot(0.0).wire()


async def test_until_the_imports_are_done_a_pod_is_starting():
    starting = Pool(POOL, {0: CARD, 1: CARD}, {}, lambda: 0.0, driver)
    assert (starting.phase, starting.ready, starting.may_become_ready) == (
        Phase.STARTING,
        False,
        True,
    )
