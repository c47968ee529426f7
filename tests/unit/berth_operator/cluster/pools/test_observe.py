from collections.abc import Mapping
from typing import Any

import builders
import pooled

from berth_api import names
from berth_api.server import Phase, PodStatus
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.pools.observe import PoolObserver
from berth_operator.cluster.pools.store import PoolKey, PoolStore
from berth_operator.core.observed import Load, Refusal
from berth_operator.core.pools import revision
from berth_operator.core.pools.observed import PoolObserved, Unreadable
from berth_operator.core.resolved import resolve

KEY = PoolKey("team-a", "shared")


class Answering:
    async def read(self, pod: Any) -> bytes | None:
        return PodStatus(phase=Phase.SERVING, sequence=7).wire().encode()


def observer(loads: Mapping[str, Load] | None = None) -> PoolObserver:
    cache = Cache()
    found = loads or {}
    return PoolObserver(
        PoolStore(cache.occupy),
        cache,
        Answering(),
        lambda: builders.NOW,
        lambda key: found.get(key.name, Load(complete=True)),
    )


def versioned(obj: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": "1", **metadata}}


def filled(watching: PoolObserver, *models: Mapping[str, Any]) -> PoolObserver:
    watching.store.upsert(kinds.POOL, pooled.pool_cr())
    for model in models:
        watching.cache.upsert(kinds.MODEL, versioned(model))
    return watching


async def test_a_pool_is_seen_with_its_pods_and_what_each_says() -> None:
    watching = filled(observer())
    watching.store.upsert(kinds.POD, pooled.pod_object(resourceVersion="1"))
    refusals = (Refusal("Pod", "p", "no"),)
    found = await watching.observe(KEY, refusals)
    assert isinstance(found, PoolObserved)
    assert found.pool.name == "shared"
    assert [one.report.sequence for one in found.pods if one.report] == [7]
    assert found.refusals == refusals
    assert found.now == builders.NOW


async def test_a_model_that_names_the_pool_is_a_member_with_its_plans_of_this_pool() -> None:
    cr = pooled.model_cr()
    plan = pooled.plan_of(cr)
    stored = revision.to_object(resolve(cr), plan)
    watching = filled(observer(), cr, pooled.model_cr("elsewhere") | {"spec": _without_pool()})
    watching.cache.upsert(kinds.REVISION, versioned(stored, uid="r"))
    found = await watching.observe(KEY, ())
    assert isinstance(found, PoolObserved)
    (member,) = found.members
    assert member.name == "a"
    assert [one.id for one in member.revisions] == [plan.id]


def _without_pool() -> dict[str, Any]:
    return {"model": {"source": "pvc://models/a"}}


async def test_plans_of_another_pool_are_none_of_its() -> None:
    cr = pooled.model_cr()
    stored = revision.to_object(resolve(cr), pooled.plan_of(cr))
    stored["data"]["pooled"]["pool"] = "another"
    watching = filled(observer(), cr)
    watching.cache.upsert(kinds.REVISION, versioned(stored, uid="r"))
    found = await watching.observe(KEY, ())
    assert isinstance(found, PoolObserved)
    assert found.members[0].revisions == ()


async def test_a_pools_demand_is_known_when_every_models_is() -> None:
    models = [pooled.model_cr("a"), pooled.model_cr("b")]
    known = await filled(observer(), *models).observe(KEY, ())
    unknown = await filled(observer({"b": Load(complete=False)}), *models).observe(KEY, ())
    assert isinstance(known, PoolObserved)
    assert isinstance(unknown, PoolObserved)
    assert (known.complete, unknown.complete) == (True, False)


async def test_one_that_goes_or_cannot_be_read_is_no_member() -> None:
    going = versioned(pooled.model_cr("a"), deletionTimestamp="2026-01-02T03:04:05Z")
    broken = pooled.model_cr("b", "ftp://nowhere")
    found = await filled(observer(), going, broken).observe(KEY, ())
    assert isinstance(found, PoolObserved)
    assert found.members == ()


async def test_one_that_cannot_be_read_any_more_is_a_member_with_what_it_was_planned_as() -> None:
    cr = pooled.model_cr()
    plan = pooled.plan_of(cr)
    broken = pooled.model_cr("a", "ftp://nowhere", priority=3)
    watching = filled(observer(), broken)
    stored = revision.to_object(resolve(cr), plan)
    watching.cache.upsert(kinds.REVISION, versioned(stored, uid="r"))
    found = await watching.observe(KEY, ())
    assert isinstance(found, PoolObserved)
    (member,) = found.members
    wanted = found.wanted(member)
    assert wanted is not None
    assert wanted.id == plan.id
    assert member.resolved.spec.priority is None
    assert not member.paused


async def test_one_that_cannot_be_read_any_more_is_left_alone_where_it_says_so() -> None:
    cr = pooled.model_cr()
    watching = filled(observer(), pooled.model_cr("a", "ftp://nowhere", paused=True))
    stored = revision.to_object(resolve(cr), pooled.plan_of(cr))
    watching.cache.upsert(kinds.REVISION, versioned(stored, uid="r"))
    found = await watching.observe(KEY, ())
    assert isinstance(found, PoolObserved)
    assert [one.paused for one in found.members] == [True]


async def test_of_a_pool_that_is_gone_or_goes_nothing_is_decided() -> None:
    watching = observer()
    assert await watching.observe(KEY, ()) is None
    going = pooled.pool_cr()
    going["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    watching.store.upsert(kinds.POOL, going)
    assert await watching.observe(KEY, ()) is None


async def test_a_pool_that_cannot_be_read_is_seen_with_what_is_wrong() -> None:
    watching = observer()
    watching.store.upsert(kinds.POOL, pooled.pool_cr(replicas="many"))
    found = await watching.observe(KEY, ())
    assert isinstance(found, Unreadable)
    assert "spec.replicas" in found.problem


async def test_what_another_owns_is_not_the_pools() -> None:
    watching = filled(observer())
    foreign = {
        "metadata": {
            "name": "shared-pool",
            "namespace": "team-a",
            "uid": "d",
            "resourceVersion": "1",
            "labels": {names.LABEL_POOL: "shared"},
            "ownerReferences": [{"uid": "somebody", "controller": True}],
        }
    }
    watching.store.upsert(kinds.DEPLOYMENT, foreign)
    found = await watching.observe(KEY, ())
    assert isinstance(found, PoolObserved)
    assert found.deployments == ()


def test_members_are_told_by_key() -> None:
    watching = filled(observer(), pooled.model_cr("a"))
    assert watching.cache.in_pool(*KEY) == (ModelKey("team-a", "a"),)
    assert watching.cache.pool_of(ModelKey("team-a", "a")) == "shared"
