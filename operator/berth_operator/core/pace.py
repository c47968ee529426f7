"""How soon a status is told: what users wait for at once, progress at most once a second.

A pod that starts brings four news within a second, each of which would be a write of the whole
status, for every model, in the very minute in which a thousand of them start.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

PROGRESS_SECONDS: Final = 1.0
# Whoever waits, waits for one of these; all else describes the way there.
_AWAITED_FIELDS: Final = (
    "phase",
    "reason",
    "observedGeneration",
    "currentRevision",
    "updateRevision",
    "blockedRevision",
)
_AWAITED_CONDITION: Final = "Ready"

Status = Mapping[str, Any]


def seconds_to_wait(told: Status, wanted: Status, told_at: datetime | None, now: datetime) -> float:
    """Until `wanted` takes the place of `told`, which was written at `told_at`; 0 is now."""
    if told_at is None or _is_awaited(told, wanted):
        return 0.0
    left = PROGRESS_SECONDS - (now - told_at).total_seconds()
    return min(max(left, 0.0), PROGRESS_SECONDS)  # clocks are set back, too


def _is_awaited(told: Status, wanted: Status) -> bool:
    changed = any(told.get(field) != wanted.get(field) for field in _AWAITED_FIELDS)
    return changed or _ready(told) != _ready(wanted)


def _ready(status: Status) -> str:
    conditions = status.get("conditions", ())
    return next((str(one["status"]) for one in conditions if one["type"] == _AWAITED_CONDITION), "")
