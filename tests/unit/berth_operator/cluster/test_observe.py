from dataclasses import replace
from typing import Any

import builders
from fakes.cluster import FakeCluster

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.observe import Carried, Observer
from berth_operator.cluster.warnings import WarningReader
from berth_operator.core.observed import Load, Refusal, Remembered

KEY = ModelKey("team", "smol")


class Silent:
    async def read(self, pod: Any) -> bytes | None:
        return None


def observer(cache: Cache) -> Observer:
    return Observer(
        cache, Silent(), WarningReader(FakeCluster(), clock=lambda: 0), lambda: builders.NOW
    )


def model(**metadata: Any) -> dict[str, Any]:
    given = {"name": "smol", "namespace": "team", "uid": "m", "resourceVersion": "1"}
    return {"metadata": given | metadata, "spec": {}}


def labelled(uid: str, created: str = "2026-01-02T03:04:05Z") -> dict[str, Any]:
    return {
        "metadata": {
            "name": uid,
            "namespace": "team",
            "uid": uid,
            "resourceVersion": "1",
            "creationTimestamp": created,
            "labels": {names.LABEL_MODEL: "smol"},
            "ownerReferences": [{"uid": "m", "controller": True}],
        }
    }


async def test_everything_about_one_model_is_gathered() -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model())
    cache.upsert(kinds.DEPLOYMENT, labelled("d"))
    cache.upsert(kinds.POD, labelled("p"))
    refusal = Refusal("Deployment", "d", "quota")
    observed = await observer(cache).observe(KEY, Carried(refusals=(refusal,)))
    assert observed is not None
    assert observed.cr["metadata"]["uid"] == "m"
    assert observed.now == builders.NOW
    assert [one["metadata"]["uid"] for one in observed.children.all()] == ["d"]
    assert [one.object["metadata"]["uid"] for one in observed.pods] == ["p"]
    assert observed.refusals == (refusal,)


async def test_the_pods_of_a_deleted_namesake_are_not_the_new_models() -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model(creationTimestamp="2026-01-02T03:04:05Z"))
    cache.upsert(kinds.POD, labelled("old", created="2026-01-02T03:04:04Z"))
    cache.upsert(kinds.POD, labelled("new", created="2026-01-02T03:04:05Z"))
    observed = await observer(cache).observe(KEY, Carried())
    assert observed is not None
    assert [one.object["metadata"]["uid"] for one in observed.pods] == ["new"]


async def test_there_is_nothing_to_decide_about_a_model_that_is_gone_or_going() -> None:
    cache = Cache()
    assert await observer(cache).observe(KEY, Carried()) is None
    cache.upsert(kinds.MODEL, model(deletionTimestamp="2026-01-02T03:04:05Z"))
    assert await observer(cache).observe(KEY, Carried()) is None


async def test_the_load_is_asked_for_with_the_models_own_pods() -> None:
    cache = Cache()
    cache.upsert(kinds.MODEL, model())
    cache.upsert(kinds.POD, labelled("p"))
    asked = []

    def told(key: ModelKey, pods: Any) -> Load:
        asked.append((key, [pod["metadata"]["uid"] for pod in pods]))
        return Load(held=3)

    remembered = Remembered(asked=2)
    carried = Carried(remembered=remembered)
    observed = await replace(observer(cache), load=told).observe(KEY, carried)
    assert observed is not None
    assert (observed.load.held, observed.remembered) == (3, remembered)
    assert asked == [(KEY, ["p"])]
