"""The status of a pool's model: its plan, its files, and what the pool says of its engine.

The same phases, conditions and reasons as a dedicated model has; where that has replicas, this has
one while its engine serves.
"""

from dataclasses import dataclass
from typing import Final

from berth_api import names
from berth_api.pool import PoolEngine
from berth_api.server import Phase
from berth_api.shape import Failure
from berth_api.status import ConditionType, Load, Plan, QueueStatus, Status
from berth_operator.core import status
from berth_operator.core.conditions import Truth, with_fix
from berth_operator.core.observed import Observed
from berth_operator.core.planner import deviation
from berth_operator.core.planner.reading import Reading, Refused
from berth_operator.core.pools.files import Files
from berth_operator.core.pools.planning import Planning
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.problems import Problem, of_refusal
from berth_operator.core.resolved import Resolved
from berth_operator.core.status import Told
from berth_operator.core.view import IDLE, PLANNING
from berth_operator.settings import Settings


@dataclass(frozen=True)
class View:
    """Everything that a status is computed from."""

    observed: Observed
    resolved: Resolved
    planned: Planning
    files: Files | None = None
    engine: PoolEngine | None = None  # of the wanted plan; None: the pool has not looked yet
    serving: PoolEngine | None = None  # that answers now

    @property
    def problem(self) -> Problem | None:
        """The cause that a user should mend first."""
        if isinstance(self.planned, Refused):
            return Problem(ConditionType.PLANNED.value, self.planned.failure)
        if self.observed.refusals:
            return of_refusal(self.observed.refusals[0])
        if self.files is not None and self.files.problem is not None:
            return self.files.problem
        return None if self.engine is None else _of_engine(self.engine)


def _of_engine(engine: PoolEngine) -> Problem | None:
    if engine.state == "Refused":
        failure = Failure(reason="DoesNotFit", message=engine.message, fix=engine.failure_fix or "")
        return Problem(ConditionType.SCHEDULED.value, failure)
    if engine.failure_reason is None:
        return None
    return Problem(
        ConditionType.RUNTIME_HEALTHY.value,
        Failure(
            reason=engine.failure_reason,
            message=engine.failure_message or engine.failure_reason,
            fix=engine.failure_fix or "",
        ),
        pod=engine.pod,
        count=engine.attempt,
    )


def of(view: View, settings: Settings) -> Told:
    truths = [truth for compute in _CONDITIONS if (truth := compute(view)) is not None]
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
        updated_replicas=int(_serves(view)),
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


def _serves(view: View) -> bool:
    return view.engine is not None and view.engine.state == "Serving"


def _current(view: View) -> str | None:
    """The plan that served last."""
    told: str | None = view.observed.cr.get("status", {}).get("currentRevision")
    if _serves(view) and isinstance(view.planned, PooledRevision):
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


# Conditions, the roll-up first: it is what people look for.


def _ready(view: View) -> Truth:
    kind = ConditionType.READY
    if view.serving is not None and view.problem is not None:
        return Truth(kind, True, "Degraded", with_fix(view.problem.failure))
    if view.serving is not None:
        return Truth(kind, True, "Serving", _where(view.serving))
    if view.problem is not None:
        return Truth(kind, False, "Failed", with_fix(view.problem.failure))
    if view.engine is not None and view.engine.state == "Absent":
        message = "not loaded; the first request has the pool load it"
        return Truth(kind, True, "ScaledToZero", message)
    return Truth(kind, False, "Activating", _doing(view))


def _where(engine: PoolEngine) -> str:
    cards = f" on card {', '.join(map(str, engine.cards))}" if engine.cards else ""
    return f"loaded in {engine.pod}{cards}"


def _doing(view: View) -> str:
    if isinstance(view.planned, Reading):
        return "reading the model's shape"
    if view.files is not None and view.files.state != "There":
        report = view.files.report
        return report.message if report and report.message else "fetching the model's files"
    if view.engine is None:
        return "the pool has not looked at it yet"
    return view.engine.message or view.engine.state


def _planned(view: View) -> Truth:
    kind = ConditionType.PLANNED
    match view.planned:
        case PooledRevision(plan=plan):
            return Truth(kind, True, "Fits", "; ".join(plan.explain))
        case Refused(failure=failure):
            return Truth(kind, False, failure.reason, with_fix(failure))
        case _:
            message = "reading the model's config.json and safetensors headers"
            return Truth(kind, None, "ReadingShape", message)


def _scheduled(view: View) -> Truth:
    kind = ConditionType.SCHEDULED
    if problem := _problem_of(view, kind):
        return problem
    engine = view.engine
    if engine is not None and engine.pod is not None:
        return Truth(kind, True, "Scheduled", _where(engine))
    if engine is not None and engine.state == "Waiting":
        return Truth(kind, False, "WaitingForEviction", engine.message)
    return Truth(kind, None, "Waiting", "nobody has asked for it")


def _cached(view: View) -> Truth:
    kind = ConditionType.MODEL_CACHED
    if problem := _problem_of(view, kind):
        return problem
    if view.files is not None and view.files.state == "There":
        return Truth(kind, True, "Verified", "the model's files are in the pool's cache")
    return Truth(kind, None if view.files is None else False, "Downloading", _doing(view))


def _healthy(view: View) -> Truth:
    kind = ConditionType.RUNTIME_HEALTHY
    if problem := _problem_of(view, kind):
        return problem
    if _serves(view):
        return Truth(kind, True, "Serving", "the engine has generated a token")
    loading = view.engine is not None and view.engine.state == "Loading"
    return Truth(kind, False if loading else None, "EngineStarting", _doing(view))


def _routed(view: View) -> Truth:
    if view.serving is not None:
        return Truth(ConditionType.ROUTED, True, "Routed", "its engine takes requests")
    return Truth(ConditionType.ROUTED, False, "NoReadyPods", "no engine of it takes requests")


def _problem_of(view: View, kind: ConditionType) -> Truth | None:
    problem = view.problem
    if problem is None or problem.condition != kind.value:
        return None
    return Truth(kind, False, problem.failure.reason, with_fix(problem.failure))


_CONDITIONS: Final = (_ready, _planned, _scheduled, _cached, _healthy, _routed)
