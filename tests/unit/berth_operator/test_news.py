import asyncio
import random
from typing import Any

import pooled

from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.pools.store import PoolKey, PoolStore
from berth_operator.news import News
from berth_operator.workqueue import WorkQueue

POOL = PoolKey("team-a", "shared")
IN_POOL, ALONE = ModelKey("team-a", "a"), ModelKey("team-a", "alone")


class Desk:
    """A pool with a model, a model without a pool, and the queues that news end in."""

    def __init__(self) -> None:
        cache = Cache()
        clock = asyncio.get_running_loop().time
        models: WorkQueue[ModelKey] = WorkQueue(clock=clock, chance=random.Random(0))
        pools: WorkQueue[PoolKey] = WorkQueue(clock=clock, chance=random.Random(0))
        self.news = News(cache, models, PoolStore(cache.occupy), pools)
        alone = pooled.model_cr("alone")
        del alone["spec"]["pool"]
        self.news.pool_store.upsert(kinds.POOL, pooled.pool_cr())
        for cr in (pooled.model_cr(), alone):
            cache.upsert(kinds.MODEL, _versioned(cr))

    async def looks(self) -> tuple[set[ModelKey], set[PoolKey]]:
        """Who is looked at because of the news so far."""
        models, pools = self.news.models, self.news.pools
        seen: tuple[set[ModelKey], set[PoolKey]] = (set(), set())
        while models.depth:
            key = await models.get()
            assert key is not None
            seen[0].add(key)
            models.done(key)
        while pools.depth:
            pool = await pools.get()
            assert pool is not None
            seen[1].add(pool)
            pools.done(pool)
        return seen


def _versioned(cr: dict[str, Any]) -> dict[str, Any]:
    return cr | {"metadata": cr["metadata"] | {"resourceVersion": "1"}}


async def test_requests_for_a_model_are_its_pools_news_too() -> None:
    desk = Desk()
    desk.news.hurry([IN_POOL])
    assert await desk.looks() == ({IN_POOL}, {POOL})
    desk.news.hurry([ALONE])
    assert await desk.looks() == ({ALONE}, set())


async def test_what_becomes_of_a_models_objects_is_its_pools_news_too() -> None:
    desk = Desk()
    desk.news.add([IN_POOL, ALONE])
    assert await desk.looks() == ({IN_POOL, ALONE}, {POOL})


async def test_a_changed_model_may_have_left_any_pool_of_its_namespace() -> None:
    desk = Desk()
    desk.news.of_models(kinds.MODEL, [ALONE])
    assert await desk.looks() == ({ALONE}, {POOL})
    desk.news.of_models(kinds.MODEL, [ModelKey("elsewhere", "b")])
    assert await desk.looks() == ({ModelKey("elsewhere", "b")}, set())


async def test_of_a_node_only_the_models_on_it_and_their_pools_are_told() -> None:
    desk = Desk()
    desk.news.of_models(kinds.NODE, [ALONE])
    assert await desk.looks() == ({ALONE}, set())


async def test_a_changed_pool_is_its_models_news_and_its_pods_are_not() -> None:
    desk = Desk()
    desk.news.of_pools(kinds.POOL, [POOL])
    assert await desk.looks() == ({IN_POOL}, {POOL})
    desk = Desk()
    desk.news.of_pools(kinds.POD, [POOL])
    assert await desk.looks() == (set(), {POOL})


async def test_no_news_are_nobodys() -> None:
    desk = Desk()
    desk.news.of_models(kinds.MODEL, ())
    desk.news.of_pools(kinds.POOL, ())
    assert await desk.looks() == (set(), set())
