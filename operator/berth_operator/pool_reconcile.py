"""A pool's look: observe, decide, execute, report. `reconcile` is the same for one model.

A pool's models are looked at again when its status tells of their engines: theirs are read from it.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from berth_operator import looks
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.pools.execute import PoolExecuted, PoolExecutor
from berth_operator.cluster.pools.observe import PoolObserver
from berth_operator.cluster.pools.store import PoolKey
from berth_operator.core.observed import Refusal
from berth_operator.core.outcome import Deletion
from berth_operator.core.planner.context import Context
from berth_operator.core.pools import concerned, status
from berth_operator.core.pools import decide as pools
from berth_operator.core.pools.observed import Unreadable
from berth_operator.looks import Looked
from berth_operator.metrics import Metrics

log = logging.getLogger(__name__)

# After a look that knew too little; the event that tells more is on its way.
OUTDATED_RETRY_SECONDS: Final = 0.2


@dataclass(frozen=True)
class PoolReconciler:
    observer: PoolObserver
    executor: PoolExecutor
    context: Context
    cache: Cache
    metrics: Metrics
    report: Callable[[Iterable[ModelKey]], None]
    carried: dict[PoolKey, tuple[Refusal, ...]] = field(default_factory=dict)

    async def __call__(self, key: PoolKey) -> float | None:
        """One look at one pool; returns the seconds until the next one without any event."""
        return await looks.timed(self.metrics, self._look(key))

    async def _look(self, key: PoolKey) -> Looked:
        observed = await self.observer.observe(key, self.carried.get(key, ()))
        if observed is None:
            await self._forget(key)
            return "gone", None
        if isinstance(observed, Unreadable):
            return await self._refuse(key, observed)
        outcome = pools.decide(observed, self.context)
        try:
            executed = await self.executor.execute(observed, outcome)
        finally:  # also after what failed: the status may have been written before
            names = concerned.models(observed, outcome.status)
            self.report([ModelKey(key.namespace, name) for name in names])
        self.carried[key] = executed.refusals
        again = OUTDATED_RETRY_SECONDS if executed.outdated else outcome.look_again_seconds
        return _report(key, executed), again

    async def _refuse(self, key: PoolKey, seen: Unreadable) -> Looked:
        """What stands, stands; its models were told of the change as the pool was."""
        told = status.of_unreadable(seen).wire()
        written = await self.executor.write_status(seen.cr, told)
        executed = PoolExecuted(status_written=bool(written), outdated=written is None)
        return _report(key, executed), OUTDATED_RETRY_SECONDS if executed.outdated else None

    async def _forget(self, key: PoolKey) -> None:
        """Its routes are its models' and stay when it is deleted: to pods that are on their way."""
        doomed = [Deletion.of(one) for one in self.observer.routes(key)]
        done = await self.executor.delete_all(key.namespace, doomed)
        if done:
            log.info("%s is gone: %s", key, "; ".join(done))
        self.carried.pop(key, None)
        self.report(self.cache.in_pool(*key))


def _report(key: PoolKey, executed: PoolExecuted) -> str:
    written = executed.status_written
    return looks.report(log, key, executed.done, executed.refusals, status=written)
