"""The operator's only reader: one frozen `Observed` per look."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from berth_api.shape import ShapeReport
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.learned import Records, nothing_known
from berth_operator.cluster.pod_status import PodReader, with_reports
from berth_operator.cluster.warnings import WarningReader
from berth_operator.core.kubernetes import is_terminating
from berth_operator.core.observed import Load, Object, Observed, Refusal, Remembered
from berth_operator.core.pools.pool import named_by

Loads = Callable[[ModelKey, Sequence[Object]], Load]
"""A model's load now, given its pods."""


def nothing_told(key: ModelKey, pods: Sequence[Object]) -> Load:
    del key, pods
    return Load()


def no_pool(namespace: str, name: str) -> None:
    del namespace, name


@dataclass(frozen=True)
class Carried:
    """What one look at a model hands to the next, and a restart may lose."""

    refusals: tuple[Refusal, ...] = ()
    poll: tuple[str, ...] = ()  # uids of pods
    remembered: Remembered = field(default_factory=Remembered)


@dataclass(frozen=True)
class Observer:
    cache: Cache
    pods: PodReader
    warnings: WarningReader
    wall_clock: Callable[[], datetime]
    learned: Records = nothing_known
    load: Loads = nothing_told
    shapes: Mapping[str, ShapeReport] = field(default_factory=dict)
    pool: Callable[[str, str], Object | None] = no_pool

    async def observe(self, key: ModelKey, carried: Carried) -> Observed | None:
        """None if there is nothing to decide: no such model, or it is being deleted.

        What a deleted model owned is the garbage collector's; making it anew would be a race.
        """
        cr = self.cache.model(key)
        if cr is None or is_terminating(cr):
            return None
        now = self.wall_clock()
        children = self.cache.children(key, cr["metadata"]["uid"])
        pods = [pod for pod in self.cache.pods(key) if _created(pod) >= _created(cr)]
        return Observed(
            cr=cr,
            now=now,
            children=children,
            pods=await with_reports(pods, self.pods, polled=carried.poll),
            nodes=self.cache.nodes(),
            refusals=carried.refusals,
            shapes=self.shapes,
            learned=self.learned(),
            warnings=await self.warnings.read(key.namespace, children, pods, now),
            remembered=carried.remembered,
            pool=self._pool_of(cr),
            load=self.load(key, pods),  # last: nothing is waited for after it
        )

    def _pool_of(self, cr: Object) -> Object | None:
        name = named_by(cr)
        return None if name is None else self.pool(cr["metadata"]["namespace"], name)


def _created(obj: Object) -> str:
    """RFC 3339 in UTC, which sorts as text. A pod older than its model is a deleted namesake's.

    A pod's owner is a ReplicaSet, so that its model's uid cannot be told from it.
    """
    created: str = obj["metadata"].get("creationTimestamp", "")
    return created
