"""Carries out a `PoolOutcome`, in its order; decides nothing.

No pod is told what the pool's status does not have: what was written tells the next leader what may
be in the pods. And no pod is told to let go of an engine before its routes are taken back.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from berth_operator.cluster import kinds
from berth_operator.cluster.children import Children
from berth_operator.cluster.execute import status_body
from berth_operator.cluster.pools.orders import OrderSender
from berth_operator.cluster.pools.store import PoolStore
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.core.observed import Object, Refusal
from berth_operator.core.outcome import Deletion
from berth_operator.core.pools.decide import PoolOutcome
from berth_operator.core.pools.observed import PoolObserved
from berth_operator.core.pools.orders import Order
from berth_operator.errors import Conflict, Denied, NotFound, NotLeading, Unavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolExecuted:
    """What was done, for the log, and what was refused, for the next look."""

    done: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    status_written: bool = False
    outdated: bool = False  # something was not written: the decision knew too little


@dataclass(frozen=True)
class PoolExecutor:
    api: KubeApi
    store: PoolStore
    sender: OrderSender
    may_write: Callable[[], bool]
    pool_key: Callable[[str], str]  # by the pool's uid

    async def execute(self, observed: PoolObserved, outcome: PoolOutcome) -> PoolExecuted:
        live = (*observed.revisions, *observed.deployments, *observed.budgets)
        children = Children(self.api, self.store)
        brought = await children.bring(outcome.apply, live, observed.cr)
        namespace = observed.pool.namespace
        gone = await self.delete_all(namespace, () if brought.refusals else outcome.delete)
        written = await self.write_status(observed.cr, outcome.status)
        done = [*brought.applied, *gone]
        if written is None:
            return PoolExecuted(tuple(done), brought.refusals, outdated=True)
        routed, unrouted = await self._route(observed, outcome)
        refusals = (*brought.refusals, *unrouted)
        if not _still_routed(observed.slices, unrouted):
            told = await asyncio.gather(*(self._tell(observed, one) for one in outcome.orders))
            done += [one for one in told if isinstance(one, str)]
            refusals += tuple(one for one in told if isinstance(one, Refusal))
        return PoolExecuted((*done, *routed), refusals, status_written=written)

    async def write_status(self, cr: Object, status: Json | None) -> bool | None:
        """Whether it was written; None if it was decided about another version of the pool."""
        if status is None or status == cr.get("status"):
            return False
        try:
            written = await self.api.apply_status(status_body(kinds.POOL, cr, status))
        except (NotFound, Conflict):
            return None
        self.store.upsert(kinds.POOL, written)
        return True

    async def _route(
        self, observed: PoolObserved, outcome: PoolOutcome
    ) -> tuple[list[str], tuple[Refusal, ...]]:
        """The slices of all models, each owned by its own; then none for those that have left."""
        children = Children(self.api, self.store)
        done: list[str] = []
        refusals: tuple[Refusal, ...] = ()
        for wanted in outcome.routes:
            owner = {"metadata": {"uid": wanted["metadata"]["ownerReferences"][0]["uid"]}}
            brought = await children.bring([wanted], observed.slices, owner)
            done += brought.applied
            refusals += brought.refusals
        gone = await self.delete_all(observed.pool.namespace, outcome.withdraw)
        return done + gone, refusals

    async def delete_all(self, namespace: str, doomed: Iterable[Deletion]) -> list[str]:
        """Returns what was deleted now, for the log."""
        done = []
        for one in doomed:
            kind = kinds.named(one.api_version, one.kind)
            try:
                await self.api.delete(kind, namespace, one.name, uid=one.uid)
            except (NotFound, Conflict):
                continue  # that very object is gone, which was the wish
            self.store.remove(kind, one.uid)
            done.append(f"deleted {one.kind}/{one.name}")
        return done

    async def _tell(self, observed: PoolObserved, order: Order) -> str | Refusal | None:
        """None where it was told before, or cannot be told now: the next look does it."""
        report, name = order.pod.report, order.pod.object["metadata"]["name"]
        if report is not None and report.sequence == order.orders.sequence:
            return None
        if not self.may_write():
            raise NotLeading(f"not leading: orders to pod {name} are held back")
        try:
            key = self.pool_key(observed.pool.uid)
            await self.sender.put(order.pod.object, order.orders, key)
        except Denied as answer:
            return Refusal("Pod", name, message=str(answer))
        except (Conflict, Unavailable) as answer:
            log.warning("%s", answer)
            return None
        held = ", ".join(one.id for one in order.orders.engines) or "nothing"
        return f"Pod/{name} is to hold {held}"


def _still_routed(slices: Iterable[Object], refused: Iterable[Refusal]) -> bool:
    """Whether a slice that routes could not be changed: its engine must not be told to go."""
    routing = {one["metadata"]["name"] for one in slices if one.get("endpoints")}
    return any(one.name in routing for one in refused)
