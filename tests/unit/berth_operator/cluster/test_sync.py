import pytest
from fakes.cluster import FakeCluster, Fault

from berth_api import names
from berth_operator.cluster import kinds, sync
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.errors import ConfigurationError, NotFound, Unavailable

KEY = ModelKey("team", "smol")


def cluster() -> FakeCluster:
    made = FakeCluster()
    model = {"apiVersion": names.API_VERSION, "kind": names.KIND}
    made.put(model | {"metadata": {"name": "smol", "namespace": "team"}})
    made.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    made.put(model | {"metadata": {"name": "elsewhere", "namespace": "other"}})
    return made


async def test_after_the_first_lists_everything_is_known() -> None:
    cache = Cache()
    keys = await sync.fill(cluster(), cache, [])
    assert set(keys) == {KEY, ModelKey("other", "elsewhere")}
    assert cache.model(KEY) is not None
    assert [node.name for node in cache.nodes()] == ["n1"]


async def test_given_namespaces_are_the_only_ones_but_nodes_have_none() -> None:
    cache = Cache()
    assert await sync.fill(cluster(), cache, ["team"]) == (KEY,)
    assert len(cache.nodes()) == 1


async def test_the_first_lists_wait_for_the_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "RETRY_SECONDS", 0)
    api = cluster()
    api.faults.append(Fault(Unavailable("down"), "list", times=3))
    assert len(await sync.fill(api, Cache(), [])) == 2


async def test_a_cluster_without_the_definition_is_told_so() -> None:
    api = cluster()
    api.faults.append(Fault(NotFound("no such resource", status=404), "list"))
    with pytest.raises(ConfigurationError, match=r"not know modeldeployments\.berth\.dev"):
        await sync.fill(api, Cache(), [])


async def test_a_deletion_that_the_watch_missed_is_found() -> None:
    api, cache = cluster(), Cache()
    await sync.fill(api, cache, [])
    assert await sync.audit(api, cache, []) == ()
    api.remove(kinds.MODEL, "team", "smol")
    assert await sync.audit(api, cache, []) == (KEY,)
    assert cache.model(KEY) is None
    assert await sync.audit(api, cache, []) == ()
