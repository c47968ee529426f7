"""ModelDeployments of one namespace, written under a name of their own."""

import pytest
from fakes.cluster import FakeCluster

from berth_api.models_api import Place
from berth_operator.cluster import kinds
from berth_operator.cluster.model_store import ModelStore
from berth_operator.errors import Conflict

MODEL = {
    "apiVersion": "berth.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "mario"},
    "spec": {"model": {"source": "hf://a/b"}, "keepAlive": "1h"},
}
LATER = MODEL | {"spec": {"model": {"source": "hf://a/c"}}}


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def store(cluster: FakeCluster) -> ModelStore:
    return ModelStore(cluster, "team")


async def test_what_is_written_is_found_in_its_namespace(store, cluster) -> None:
    assert await store.find("mario") is None
    written = await store.write(MODEL, None)
    assert await store.find("mario") == written
    assert cluster.find(kinds.MODEL, "team", "mario")["spec"] == MODEL["spec"]


async def test_what_is_written_anew_has_nothing_left_of_the_old(store) -> None:
    before = await store.write(MODEL, None)
    after = await store.write(LATER, before)
    assert after["spec"] == LATER["spec"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_what_somebody_changed_meanwhile_is_not_written_over(store, cluster) -> None:
    before = await store.write(MODEL, None)
    cluster.put(before | {"spec": before["spec"] | {"keepAlive": "2h"}})
    with pytest.raises(Conflict):
        await store.write(LATER, before)


async def test_only_the_object_that_was_meant_is_removed(store) -> None:
    written = await store.write(MODEL, None)
    other = Place(namespace="team", name="mario", uid="another")
    with pytest.raises(Conflict):
        await store.remove(other)
    await store.remove(other.model_copy(update={"uid": written["metadata"]["uid"]}))
    assert await store.find("mario") is None
