"""The operator on one page: observe, decide, execute, report; again when there is reason to.

Level-triggered: a look asks what is, not what happened, so a lost event or a restart changes
nothing but the time.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from berth_operator import looks
from berth_operator.cluster.cache import ModelKey
from berth_operator.cluster.execute import Executed, Executor, refused
from berth_operator.cluster.observe import Carried, Observer
from berth_operator.core.known import least
from berth_operator.core.observed import Observed
from berth_operator.core.outcome import Attention, Outcome
from berth_operator.core.planner.context import Context
from berth_operator.looks import Looked
from berth_operator.metrics import Metrics
from berth_operator.spec_pace import SpecPace

log = logging.getLogger(__name__)

Decide = Callable[[Observed, Context], Outcome]
Attend = Callable[[ModelKey, Attention | None], None]
"""Told after each look what of the load the next one waits for; None: nothing."""

# What the API server refused (a quota, an admission rule) is tried again at least so often: no
# event tells that the reason has gone.
REFUSED_RETRY_SECONDS: Final = 60.0
# After a look that knew too little, or that found room for what had been refused before. Not at
# once: the event that tells of it is on its way and usually comes first.
OUTDATED_RETRY_SECONDS: Final = 1.0


def ignored(key: ModelKey, attention: Attention | None) -> None:
    del key, attention


@dataclass(frozen=True)
class Reconciler:
    observer: Observer
    decide: Decide
    context: Context
    executor: Executor
    metrics: Metrics
    attend: Attend = ignored
    carried: dict[ModelKey, Carried] = field(default_factory=dict)
    specs: SpecPace[ModelKey] = field(default_factory=lambda: SpecPace(time.monotonic))

    async def __call__(self, key: ModelKey) -> float | None:
        """One look at one model; returns the seconds until the next one without any event."""
        return await looks.timed(self.metrics, self._look(key))

    async def _look(self, key: ModelKey) -> Looked:
        observed = await self.observer.observe(key, self.carried.get(key, Carried()))
        if observed is None:
            self._forget(key)
            return "gone", None
        if wait := self.specs.wait_seconds(key, observed.cr["metadata"].get("generation")):
            return "early", wait
        outcome = self.decide(observed, self.context)
        executed = await self.executor.execute(observed, outcome)
        self.carried[key] = _carried(observed, outcome, executed)
        self.attend(key, outcome.attention)
        return _report(key, executed), next_look(observed, outcome, executed)

    def _forget(self, key: ModelKey) -> None:
        self.carried.pop(key, None)
        self.specs.forget(key)
        self.attend(key, None)


def _carried(observed: Observed, outcome: Outcome, executed: Executed) -> Carried:
    """Of an unfinished look nothing has been told: the next one decides it as this one did."""
    remembered = outcome.remember
    if executed.unfinished:
        remembered = replace(observed.remembered, key=remembered.key)
    return Carried(executed.refusals, outcome.poll, remembered)


def next_look(observed: Observed, outcome: Outcome, executed: Executed) -> float | None:
    """Seconds: at once if this one is unfinished, or did not yet know what is refused."""
    before, after = refused(observed.refusals), refused(executed.refusals)
    if executed.unfinished or not after <= before:
        return 0.0
    return least(
        (
            outcome.look_again_seconds,
            REFUSED_RETRY_SECONDS if executed.refusals else None,
            OUTDATED_RETRY_SECONDS if executed.outdated or after < before else None,
        )
    )


def _report(key: ModelKey, executed: Executed) -> str:
    done = [
        *(f"patched {name}" for name in executed.patched),
        *(f"applied {name}" for name in executed.applied),
        *(f"deleted {name}" for name in executed.deleted),
    ]
    learned, written = executed.learned, executed.status_written
    return looks.report(log, key, done, executed.refusals, learned=learned, status=written)
