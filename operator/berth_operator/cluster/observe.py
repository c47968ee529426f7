"""The operator's only reader: one frozen `Observed` per look."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.pod_status import PodReader, with_reports
from berth_operator.cluster.warnings import WarningReader
from berth_operator.core.kubernetes import is_terminating
from berth_operator.core.observed import Observed, Refusal


@dataclass(frozen=True)
class Carried:
    """What one look at a model hands to the next, and a restart may lose."""

    refusals: tuple[Refusal, ...] = ()
    poll: tuple[str, ...] = ()  # uids of pods


@dataclass(frozen=True)
class Observer:
    cache: Cache
    pods: PodReader
    warnings: WarningReader
    wall_clock: Callable[[], datetime]

    async def observe(self, key: ModelKey, carried: Carried) -> Observed | None:
        """None if there is nothing to decide: no such model, or it is being deleted.

        What a deleted model owned is the garbage collector's; making it anew would be a race.
        """
        cr = self.cache.model(key)
        if cr is None or is_terminating(cr):
            return None
        now = self.wall_clock()
        children = self.cache.children(key, cr["metadata"]["uid"])
        pods = self.cache.pods(key)
        return Observed(
            cr=cr,
            now=now,
            children=children,
            pods=await with_reports(pods, self.pods, polled=carried.poll),
            nodes=self.cache.nodes(),
            refusals=carried.refusals,
            warnings=await self.warnings.read(key.namespace, children, pods, now),
        )
