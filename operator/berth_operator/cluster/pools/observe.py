"""A pool's only reader: one frozen `PoolObserved` per look."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from berth_api.pool import PoolStatus
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.pod_status import PodReader, with_reports
from berth_operator.cluster.pools.store import PoolKey, PoolStore
from berth_operator.core import resolved
from berth_operator.core.drift import owned_by
from berth_operator.core.kubernetes import is_terminating
from berth_operator.core.observed import Load, Object, Refusal
from berth_operator.core.pools import pool, revision
from berth_operator.core.pools.observed import Member, PoolObserved, Unreadable
from berth_operator.core.pools.pool import ResolvedPool
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.resolved import Resolved


@dataclass(frozen=True)
class PoolObserver:
    store: PoolStore
    cache: Cache
    pods: PodReader
    wall_clock: Callable[[], datetime]
    load: Callable[[ModelKey], Load]

    async def observe(
        self, key: PoolKey, refusals: tuple[Refusal, ...]
    ) -> PoolObserved | Unreadable | None:
        """None if there is nothing to decide: no such pool, or it is being deleted."""
        cr = self.store.pool(key)
        if cr is None or is_terminating(cr):
            return None
        try:
            found = pool.resolve(cr)
        except ValueError as invalid:
            return Unreadable(cr, self.wall_clock(), str(invalid))
        return await self._seen(key, cr, found, refusals)

    async def _seen(
        self, key: PoolKey, cr: Object, found: ResolvedPool, refusals: tuple[Refusal, ...]
    ) -> PoolObserved:
        pods = self.store.of(kinds.POD, key)
        asked = {one["metadata"]["uid"] for one in pods}
        reported = await with_reports(pods, self.pods, polled=asked)
        members = tuple(self._members(key))  # last: nothing is waited for after it
        return PoolObserved(
            cr=cr,
            pool=found,
            status=PoolStatus.model_validate(cr.get("status") or {}),
            now=self.wall_clock(),
            members=members,
            pods=reported,
            nodes=self.cache.nodes(),
            revisions=self._owned(kinds.REVISION, key, cr),
            deployments=self._owned(kinds.DEPLOYMENT, key, cr),
            budgets=self._owned(kinds.BUDGET, key, cr),
            slices=self.routes(key),
            complete=all(one.load.complete for one in members),
            refusals=refusals,
        )

    def routes(self, key: PoolKey) -> tuple[Object, ...]:
        """Of its models; what they name is gone when the pool is."""
        return self.store.of(kinds.SLICE, key)

    def _owned(self, kind: kinds.Kind, key: PoolKey, cr: Object) -> tuple[Object, ...]:
        uid = cr["metadata"]["uid"]
        return tuple(one for one in self.store.of(kind, key) if owned_by(one, uid))

    def _members(self, key: PoolKey) -> Iterator[Member]:
        for model in sorted(self.cache.in_pool(*key)):
            found = self._member(model, key)
            if found is not None:
                yield found

    def _member(self, model: ModelKey, key: PoolKey) -> Member | None:
        """None for one that goes, or that was never planned: only its own look tells why."""
        cr = self.cache.model(model)
        if cr is None or is_terminating(cr):
            return None
        children = self.cache.children(model, cr["metadata"]["uid"])
        stored = revision.readable(children.revisions)
        mine = tuple(one for one in stored if one.pool == key.name)
        typed = _resolved(cr, mine)
        return None if typed is None else Member(cr, typed, mine, children.jobs, self.load(model))


def _resolved(cr: Object, plans: Sequence[PooledRevision]) -> Resolved | None:
    """One whose spec cannot be read is taken as it was planned last, so that it goes on serving.

    What it said of its residency is not known any more: it counts as if it had said nothing. That
    it is to be left alone is.
    """
    try:
        return resolved.resolve(cr)
    except ValueError:
        if not plans:
            return None
    last = plans[-1]
    spec = {"model": {"source": last.source}, "pool": last.pool}
    paused = cr["spec"].get("paused") is True
    return resolved.resolve({**cr, "spec": {**spec, "paused": paused}})
