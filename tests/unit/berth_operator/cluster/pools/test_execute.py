from dataclasses import dataclass, field
from typing import Any

import pooled
import pytest
from fakes.cluster import Call, FakeCluster, Fault

from berth_api import names
from berth_api.pool_server import EngineOrders
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache
from berth_operator.cluster.pools.execute import PoolExecuted, PoolExecutor
from berth_operator.cluster.pools.store import PoolKey, PoolStore
from berth_operator.core.objects import endpoint_slice
from berth_operator.core.observed import Object
from berth_operator.core.outcome import Deletion
from berth_operator.core.pools.decide import PoolOutcome
from berth_operator.core.pools.observed import PoolObserved
from berth_operator.core.pools.orders import Order
from berth_operator.errors import Conflict, Denied, NotLeading, Unavailable

KEY = PoolKey("team-a", "shared")
STATUS = {"phase": "Ready"}


@dataclass
class Sender:
    """Writes down the calls among those of the API server; fails as it is told to."""

    cluster: FakeCluster
    error: Exception | None = None
    keys: list[str] = field(default_factory=list)

    async def put(self, pod: Object, orders: EngineOrders, key: str) -> None:
        self.cluster.calls.append(Call("order", "Pod", pod["metadata"]["name"]))
        self.keys.append(key)
        if self.error is not None:
            raise self.error


class Bench:
    def __init__(self, *, error: Exception | None = None, leading: bool = True) -> None:
        self.cluster = FakeCluster()
        self.store = PoolStore(Cache().occupy)
        self.sender = Sender(self.cluster, error)
        self.executor = PoolExecutor(
            self.cluster,
            self.store,
            self.sender,
            may_write=lambda: leading,
            pool_key=lambda uid: f"key of {uid}",
        )
        self.cluster.put(pooled.pool_cr())
        self.member = pooled.member()

    def observed(self, *slices: Object) -> PoolObserved:
        (cr,) = self.cluster.of_kind(kinds.POOL)
        self.store.upsert(kinds.POOL, cr)
        found = pooled.observed(self.member, slices=tuple(slices))
        return PoolObserved(**{**_fields(found), "cr": cr})

    def route(self, *pods: Object) -> dict[str, Any]:
        pool = pooled.observed().pool
        return endpoint_slice.build(self.member.resolved, pool, "engine", 8100, pods)

    async def execute(self, outcome: PoolOutcome, *slices: Object) -> PoolExecuted:
        return await self.executor.execute(self.observed(*slices), outcome)


def _fields(observed: PoolObserved) -> dict[str, Any]:
    return {name: getattr(observed, name) for name in PoolObserved.__dataclass_fields__}


def order(sequence: int = 2) -> Order:
    return Order(pooled.pod(sequence=1), EngineOrders(sequence=sequence, engines=[]))


def everything(bench: Bench) -> PoolOutcome:
    return PoolOutcome(status=STATUS, routes=(bench.route(pooled.pod_object()),), orders=(order(),))


async def test_the_status_is_before_the_routes_and_these_are_before_the_orders() -> None:
    bench = Bench()
    done = await bench.execute(everything(bench))
    assert bench.cluster.writes == [
        Call("apply_status", "ModelPool", "shared"),
        Call("apply", "EndpointSlice", "a-pooled"),
        Call("order", "Pod", "shared-pool-0"),
    ]
    assert done.status_written
    assert bench.sender.keys == [f"key of {pooled.POOL_UID}"]


async def test_what_was_told_before_is_not_told_again() -> None:
    bench = Bench()
    outcome = PoolOutcome(orders=(order(sequence=1),))
    assert await bench.execute(outcome) == PoolExecuted()
    assert bench.cluster.writes == []


async def test_a_status_about_an_older_pool_is_not_written_and_nothing_after_it_is_done() -> None:
    bench = Bench()
    bench.cluster.faults.append(Fault(Conflict("modified", status=409), "apply_status"))
    done = await bench.execute(everything(bench))
    assert done.outdated
    assert [one.verb for one in bench.cluster.writes] == ["apply_status"]


async def test_while_a_route_cannot_be_taken_back_no_pod_is_told_to_let_go() -> None:
    bench = Bench()
    live = bench.cluster.put(bench.route(pooled.pod_object()))
    bench.cluster.faults.append(Fault(Denied("admission"), "apply", "EndpointSlice"))
    outcome = PoolOutcome(routes=(endpoint_slice.emptied(live),), orders=(order(),))
    done = await bench.execute(outcome, live)
    assert [one.name for one in done.refusals] == ["a-pooled"]
    assert bench.sender.keys == []


async def test_a_route_that_cannot_be_made_holds_nothing_else_back() -> None:
    bench = Bench()
    bench.cluster.faults.append(Fault(Denied("exceeded quota"), "apply", "EndpointSlice"))
    done = await bench.execute(everything(bench))
    assert [one.name for one in done.refusals] == ["a-pooled"]
    assert len(bench.sender.keys) == 1


async def test_a_slice_of_somebody_else_is_left_alone() -> None:
    bench = Bench()
    foreign = bench.route()
    foreign["metadata"]["ownerReferences"][0]["uid"] = "somebody"
    bench.cluster.put(foreign)
    done = await bench.execute(everything(bench))
    assert "belongs to something else" in done.refusals[0].message


async def test_the_route_of_a_model_that_has_left_is_deleted() -> None:
    bench = Bench()
    live = bench.cluster.put(bench.route(pooled.pod_object()))
    bench.store.upsert(kinds.SLICE, live)
    gone = Deletion.of(live)
    done = await bench.execute(PoolOutcome(withdraw=(gone,)), live)
    assert done.done == ("deleted EndpointSlice/a-pooled",)
    assert bench.store.of(kinds.SLICE, KEY) == ()
    assert (await bench.execute(PoolOutcome(withdraw=(gone,)), live)).done == ()


@pytest.mark.parametrize("error", [Conflict("newer"), Unavailable("no answer")])
async def test_a_pod_that_does_not_take_its_orders_is_told_at_the_next_look(
    error: Exception,
) -> None:
    bench = Bench(error=error)
    done = await bench.execute(PoolOutcome(orders=(order(),)))
    assert done == PoolExecuted()


async def test_orders_that_can_never_be_obeyed_are_a_refusal() -> None:
    bench = Bench(error=Denied("engines[0].port: taken"))
    done = await bench.execute(PoolOutcome(orders=(order(),)))
    assert [(one.kind, one.message) for one in done.refusals] == [("Pod", "engines[0].port: taken")]


async def test_one_that_leads_no_more_tells_no_pod() -> None:
    bench = Bench(leading=False)
    with pytest.raises(NotLeading):
        await bench.execute(PoolOutcome(orders=(order(),)))
    assert bench.sender.keys == []


async def test_while_the_key_cannot_be_written_nothing_that_mounts_it_is() -> None:
    bench = Bench()
    bench.cluster.faults.append(Fault(Denied("policy"), "create", "Secret"))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.pool_key_secret("shared"), "namespace": "team-a"},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "shared-pool",
            "namespace": "team-a",
            "labels": {names.LABEL_POOL: "shared"},
        },
    }
    done = await bench.execute(PoolOutcome(apply=(secret, deployment)))
    assert [one.kind for one in done.refusals] == ["Secret"]
    assert bench.cluster.of_kind(kinds.DEPLOYMENT) == []
