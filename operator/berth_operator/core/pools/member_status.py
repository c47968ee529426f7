"""The status of a pool's model: its plan, its files, and what the pool says of its engine.

The same phases, conditions and reasons as a dedicated model has; where that has replicas, this has
one while its engine serves.
"""

from typing import Final

from berth_api import names
from berth_api.server import Phase
from berth_api.status import Load, Plan, QueueStatus, Status
from berth_operator.core import status
from berth_operator.core.conditions import with_fix
from berth_operator.core.planner import deviation
from berth_operator.core.planner.reading import Reading, Refused
from berth_operator.core.pools import member_conditions
from berth_operator.core.pools.member_view import View
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.status import Told
from berth_operator.core.view import IDLE, PLANNING
from berth_operator.settings import Settings


def of(view: View, settings: Settings) -> Told:
    truths = member_conditions.of(view)
    ready = truths[0]
    problem = view.problem
    reason, message = ready.reason, ready.message
    if problem is not None:
        reason, message = problem.failure.reason, with_fix(problem.failure)
    revision = view.planned if isinstance(view.planned, PooledRevision) else None
    told = Status(
        observed_generation=view.resolved.generation,
        phase=phase_of(view),
        progress=_progress(view),
        reason=reason,
        message=message,
        url=settings.url,
        replicas=int(view.engine is not None and view.engine.pod is not None),
        ready_replicas=int(view.serving is not None),
        updated_replicas=int(view.serves),
        selector=f"{names.LABEL_POOL}={view.resolved.spec.pool},{names.LABEL_ROLE}={names.ROLE_POOL}",
        current_revision=_current(view),
        update_revision=revision.name if revision else None,
        model=status.model(revision),
        plan=_plan(view),
        load=_load(view),
        queue=_queue(view),
        last_failure=status.last_failure(view.observed, problem),
        conditions=status.conditions_of(view.observed, view.resolved.generation, truths),
    ).wire()
    return Told(told, status.events_of(view.observed, told))


def _current(view: View) -> str | None:
    """The plan that served last."""
    told: str | None = view.observed.cr.get("status", {}).get("currentRevision")
    if view.serves and isinstance(view.planned, PooledRevision):
        return view.planned.name
    return told


_STATES: Final = {
    "Serving": Phase.SERVING.value,
    "Draining": Phase.DRAINING.value,
    "Waiting": Phase.PENDING.value,
    "Absent": IDLE,
    "Failed": Phase.FAILED.value,
    "Refused": Phase.FAILED.value,
}


def phase_of(view: View) -> str:
    if view.serving is not None:
        return Phase.SERVING.value
    if isinstance(view.planned, Reading):
        return PLANNING
    if isinstance(view.planned, Refused):
        return Phase.FAILED.value
    if view.files is not None and view.files.state != "There":
        return Phase.FETCHING.value if view.files.state == "Fetching" else Phase.FAILED.value
    if view.engine is None:
        return Phase.PENDING.value
    return _STATES.get(view.engine.state) or view.engine.phase or Phase.STARTING.value


def _progress(view: View) -> str | None:
    if view.files is not None and view.files.report is not None:
        percent = view.files.report.percent
    else:
        percent = view.engine.percent if view.engine is not None else None
    return None if percent is None or view.serving is not None else f"{percent}%"


def _plan(view: View) -> Plan | None:
    """With what the engine measured beside it; measures outlive the load that made them."""
    if isinstance(view.planned, Refused):
        return view.planned.plan
    if not isinstance(view.planned, PooledRevision):
        return None
    measured = view.engine.measured if view.engine is not None else None
    compared = deviation.percent(view.planned.plan, measured) if measured else None
    changed = {"measured": measured, "deviation_percent": compared}
    return view.planned.plan.model_copy(update=changed)


def _load(view: View) -> Load | None:
    if view.engine is None or view.engine.state != "Loading":
        return None
    phase = view.engine.phase or Phase.PENDING.value
    return Load(phase=phase, percent=view.engine.percent, eta_seconds=view.engine.eta_seconds)


def _queue(view: View) -> QueueStatus | None:
    load = view.observed.load
    told = view.observed.cr.get("status", {}).get("queue")
    if not load.held and not told:
        return None
    return QueueStatus(depth=load.held, oldest_seconds=int(load.oldest_seconds))
