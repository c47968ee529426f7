"""Who is to be looked at because of what was seen: a model, its pool, or both.

A model's requests and plans are its pool's news too, and what a pool decides is told of its models.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.pools.store import PoolKey, PoolStore
from berth_operator.workqueue import WorkQueue


@dataclass(frozen=True)
class News:
    cache: Cache
    models: WorkQueue[ModelKey]
    pool_store: PoolStore
    pools: WorkQueue[PoolKey]

    def hurry(self, keys: Iterable[ModelKey]) -> None:
        """Somebody waits for these models."""
        found = list(keys)
        self.models.hurry(found)
        self.pools.hurry(self._pools_of(found))

    def add(self, keys: Iterable[ModelKey]) -> None:
        found = list(keys)
        self.models.add_all(found)
        self.pools.add_all(self._pools_of(found))

    def of_models(self, kind: Kind, keys: Iterable[ModelKey]) -> None:
        """A user who has changed a model waits for what comes of it; so may a pool that it left."""
        found = list(keys)
        if kind is not kinds.MODEL:
            self.add(found)
            return
        self.hurry(found)
        spaces = {key.namespace for key in found}
        known = self.pool_store.pools()
        self.pools.add_all(pool for pool in known if pool.namespace in spaces)

    def of_pools(self, kind: Kind, keys: Iterable[PoolKey]) -> None:
        found = list(keys)
        self.pools.hurry(found)
        if kind is kinds.POOL:
            for key in found:
                self.models.add_all(self.cache.in_pool(*key))

    def _pools_of(self, keys: Iterable[ModelKey]) -> list[PoolKey]:
        named = ((key, self.cache.pool_of(key)) for key in keys)
        return [PoolKey(key.namespace, pool) for key, pool in named if pool is not None]
