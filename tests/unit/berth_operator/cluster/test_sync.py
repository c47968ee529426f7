from dataclasses import dataclass, field

import pytest
from fakes.cluster import FakeCluster, Fault

from berth_api import names
from berth_operator.cluster import kinds, sync
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.sync import Feed
from berth_operator.errors import ConfigurationError, NotFound, Unavailable

KEY = ModelKey("team", "smol")


def cluster() -> FakeCluster:
    made = FakeCluster()
    model = {"apiVersion": names.API_VERSION, "kind": names.KIND}
    made.put(model | {"metadata": {"name": "smol", "namespace": "team"}})
    made.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    made.put(model | {"metadata": {"name": "elsewhere", "namespace": "other"}})
    return made


@dataclass
class Watched:
    """A cache that is fed what kopf watches, and the models that were reported."""

    cache: Cache = field(default_factory=Cache)
    told: list[ModelKey] = field(default_factory=list)

    @property
    def feed(self) -> Feed[ModelKey]:
        return Feed(self.cache, kinds.HANDLED, lambda _, keys: self.told.extend(keys))


async def test_after_the_first_lists_everything_is_known() -> None:
    known = Watched()
    await sync.fill(cluster(), known.feed, [])
    assert set(known.cache.models()) == {KEY, ModelKey("other", "elsewhere")}
    assert known.cache.model(KEY) is not None
    assert [node.name for node in known.cache.nodes()] == ["n1"]


async def test_given_namespaces_are_the_only_ones_but_nodes_have_none() -> None:
    known = Watched()
    await sync.fill(cluster(), known.feed, ["team"])
    assert known.cache.models() == (KEY,)
    assert len(known.cache.nodes()) == 1


async def test_the_first_lists_wait_for_the_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "RETRY_SECONDS", 0)
    api, known = cluster(), Watched()
    api.faults.append(Fault(Unavailable("down"), "list", times=3))
    await sync.fill(api, known.feed, [])
    assert len(known.cache.models()) == 2


async def test_a_cluster_without_the_definition_is_told_so() -> None:
    api = cluster()
    api.faults.append(Fault(NotFound("no such resource", status=404), "list"))
    with pytest.raises(ConfigurationError, match=r"not know modeldeployments\.berth\.dev"):
        await sync.fill(api, Watched().feed, [])


async def test_a_deletion_that_the_watch_missed_is_found() -> None:
    api, known = cluster(), Watched()
    await sync.fill(api, known.feed, [])
    await sync.audit(api, known.feed, [])
    assert known.told == []
    api.remove(kinds.MODEL, "team", "smol")
    await sync.audit(api, known.feed, [])
    assert known.told == [KEY]
    assert known.cache.model(KEY) is None
    await sync.audit(api, known.feed, [])
    assert known.told == [KEY]
