from typing import Any

import pooled

from berth_operator.cluster import kinds
from berth_operator.cluster.pools.store import PoolKey, PoolStore
from berth_operator.core.observed import Object

KEY = PoolKey("team-a", "shared")


class Places(list[tuple[str, int]]):
    """Pods that came and went, as they count on their nodes."""

    def __call__(self, pod: Object, sign: int) -> None:
        self.append((pod["metadata"]["name"], sign))


def pool(version: int = 1, **metadata: Any) -> dict[str, Any]:
    cr = pooled.pool_cr()
    return cr | {"metadata": cr["metadata"] | {"resourceVersion": str(version)} | metadata}


def pod(version: int = 1) -> dict[str, Any]:
    return pooled.pod_object(resourceVersion=str(version))


def test_what_is_taken_in_is_found_by_its_pool() -> None:
    store = PoolStore(Places())
    assert store.upsert(kinds.POOL, pool()) == (KEY,)
    assert store.upsert(kinds.POD, pod()) == (KEY,)
    assert store.pools() == (KEY,)
    assert [one["metadata"]["name"] for one in store.of(kinds.POD, KEY)] == ["shared-pool-0"]
    assert store.of(kinds.POD, PoolKey("team-a", "other")) == ()


def test_old_news_and_its_own_echo_name_nobody() -> None:
    store = PoolStore(Places())
    store.upsert(kinds.POOL, pool(version=7))
    assert store.upsert(kinds.POOL, pool(version=7)) == ()
    assert store.upsert(kinds.POOL, pool(version=6)) == ()


def test_late_news_of_what_was_deleted_do_not_bring_it_back() -> None:
    store = PoolStore(Places())
    store.upsert(kinds.POOL, pool())
    assert store.remove(kinds.POOL, pooled.POOL_UID) == (KEY,)
    assert store.upsert(kinds.POOL, pool(version=9)) == ()
    assert store.pool(KEY) is None
    assert store.remove(kinds.POOL, pooled.POOL_UID) == ()


def test_of_two_of_a_name_the_younger_is_the_pool() -> None:
    store = PoolStore(Places())
    store.upsert(kinds.POOL, pool(creationTimestamp="2026-01-02T00:00:00Z"))
    store.upsert(kinds.POOL, pool(uid="older", creationTimestamp="2026-01-01T00:00:00Z"))
    found = store.pool(KEY)
    assert found is not None
    assert found["metadata"]["uid"] == pooled.POOL_UID


def test_a_pod_takes_up_its_place_once_and_gives_it_back() -> None:
    places = Places()
    store = PoolStore(places)
    store.upsert(kinds.POD, pod())
    store.upsert(kinds.POD, pod(version=2))
    store.remove(kinds.POD, pooled.POD_UID)
    name = "shared-pool-0"
    assert places == [(name, 1), (name, -1), (name, 1), (name, -1)]


def test_objects_are_counted_by_namespace() -> None:
    store = PoolStore(Places())
    store.upsert(kinds.POOL, pool())
    assert store.uids(kinds.POOL) == store.uids(kinds.POOL, "team-a") == {pooled.POOL_UID}
    assert store.uids(kinds.POOL, "team-b") == frozenset()


def test_a_key_reads_as_a_pool_in_the_log() -> None:
    assert str(KEY) == "pool team-a/shared"
