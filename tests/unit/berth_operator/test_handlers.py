from collections.abc import Iterable
from itertools import islice
from typing import Any

from berth_operator import handlers
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.pools.store import PoolStore
from berth_operator.cluster.sync import Feed


class Told(list[tuple[Kind, tuple[ModelKey, ...]]]):
    """What was reported: kinds, and the models to look at."""

    def __call__(self, kind: Kind, keys: Iterable[ModelKey]) -> None:
        self.append((kind, tuple(keys)))


def event(kind: str | None, version: int = 1) -> dict[str, Any]:
    """A spec that changes with its version."""
    metadata = {"name": "smol", "namespace": "team", "uid": "m", "resourceVersion": str(version)}
    return {"type": kind, "object": {"metadata": metadata, "spec": {"replicas": version}}}


def test_events_keep_the_cache_and_name_the_model_to_look_at() -> None:
    cache, key, told = Cache(), ModelKey("team", "smol"), Told()
    feed = Feed(cache, kinds.HANDLED, told)
    handlers.take(feed, kinds.MODEL, event(None))
    handlers.take(feed, kinds.MODEL, event("MODIFIED", 2))
    assert cache.models() == (key,)
    assert told == [(kinds.MODEL, (key,))] * 2
    handlers.take(feed, kinds.MODEL, event("DELETED", 3))
    assert cache.models() == ()
    assert told == [(kinds.MODEL, (key,))] * 3


def test_the_pauses_between_tries_never_end_and_stay_short() -> None:
    pauses = list(islice(handlers.EndlessBackoffs(), 1000))
    assert len(pauses) == 1000
    assert max(pauses) == 5


def test_kopf_writes_nothing_of_its_own() -> None:
    chosen = handlers.settings()
    assert not chosen.posting.enabled
    assert chosen.scanning.disabled


def test_the_watch_timeout_is_sent_as_an_integer() -> None:
    assert isinstance(handlers.settings().watching.server_timeout, int)


def test_only_raw_events_are_handled_so_that_no_finalizer_is_needed() -> None:
    feeds = [
        Feed(Cache(), kinds.HANDLED, Told()),
        Feed(PoolStore(lambda pod, sign: None), (kinds.POOL,), Told()),
    ]
    registry = handlers.registry(feeds)
    assert len(registry._watching.get_all_handlers()) == len(kinds.HANDLED) + 1
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._indexing.get_all_handlers()
