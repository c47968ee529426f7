"""What became of loads: how long the last took, and which failed and are tried again when.

Kept in the pool's status, for a pod forgets an engine that it no longer has to hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from berth_api.pool import PoolEngine
from berth_api.server import EngineStatus, Measured, Phase
from berth_api.shape import Failure
from berth_api.status import Memories
from berth_operator.core.kubernetes import moment
from berth_operator.core.pauses import Pauses
from berth_operator.core.pools.observed import PoolObserved
from berth_operator.core.pools.residents import reports

# A load costs minutes of a card, and the same failure is likely again: each pause is twice the one
# before it.
FIRST_PAUSE: Final = timedelta(seconds=10)
LONGEST_PAUSE: Final = timedelta(minutes=10)
_PAUSES: Final = Pauses(FIRST_PAUSE, LONGEST_PAUSE)


@dataclass(frozen=True)
class History:
    """Of one engine's loads."""

    attempt: int = 0  # failures since it last served
    failure: Failure | None = None
    blocked_until: datetime | None = None
    load_seconds: int | None = None
    measured: Memories | None = None


def histories(observed: PoolObserved) -> Mapping[str, History]:
    """By engine, with what the pods tell now."""
    found = {one.id: _told(one) for one in observed.status.engines}
    for pod in observed.active:
        for one in reports(pod):
            id_ = one.id or ""
            found[id_] = _news(found.get(id_, History()), one, observed.now)
    return found


def _told(one: PoolEngine) -> History:
    failure = None
    if one.failure_reason is not None:
        failure = Failure(
            reason=one.failure_reason, message=one.failure_message or "", fix=one.failure_fix or ""
        )
    until = moment(one.blocked_until)
    return History(one.attempt, failure, until, one.load_seconds, one.measured)


def _news(before: History, told: EngineStatus, now: datetime) -> History:
    if told.phase is Phase.SERVING:
        return History(load_seconds=_seconds(told), measured=_memories(told.measured, before))
    if told.phase is not Phase.FAILED or (told.attempt or 0) < before.attempt:
        return before
    tries = (told.attempt or 0) + 1
    failure = told.failure or Failure(reason="CrashLoop", message=told.message or "it ended")
    return replace(before, attempt=tries, failure=failure, blocked_until=now + _PAUSES.of(tries))


def _seconds(told: EngineStatus) -> int | None:
    if told.ready_seconds is None or told.started_seconds is None:
        return None
    return max(1, round(told.ready_seconds - told.started_seconds))


def _memories(measured: Measured, before: History) -> Memories | None:
    found = Memories.model_validate(measured.model_dump())
    return found if found.wire() else before.measured
