from itertools import islice
from typing import Any

from berth_operator import handlers
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey


def event(kind: str | None, version: int = 1) -> dict[str, Any]:
    """A spec that changes with its version."""
    metadata = {"name": "smol", "namespace": "team", "uid": "m", "resourceVersion": str(version)}
    return {"type": kind, "object": {"metadata": metadata, "spec": {"replicas": version}}}


def test_events_keep_the_cache_and_name_the_model_to_look_at() -> None:
    cache, key = Cache(), ModelKey("team", "smol")
    assert handlers.feed(cache, kinds.MODEL, event(None)) == (key,)
    assert handlers.feed(cache, kinds.MODEL, event("MODIFIED", 2)) == (key,)
    assert cache.models() == (key,)
    assert handlers.feed(cache, kinds.MODEL, event("DELETED", 3)) == (key,)
    assert cache.models() == ()


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
    registry = handlers.registry(Cache(), lambda kind, keys: None)
    assert len(registry._watching.get_all_handlers()) == len(kinds.HANDLED)
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._indexing.get_all_handlers()
