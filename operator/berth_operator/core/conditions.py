"""Conditions: an ordered table of pure readings of the view, each with its reason and message."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from berth_api import names
from berth_api.server import Phase
from berth_api.shape import Failure
from berth_api.spec import ScalingMode
from berth_api.status import ConditionType
from berth_operator.core.kubernetes import is_ready
from berth_operator.core.observed import Load
from berth_operator.core.planner.planning import Planned, Reading, Refused
from berth_operator.core.revision import unreadable
from berth_operator.core.view import ORDER, View, running


@dataclass(frozen=True)
class Truth:
    """One condition, before it has times."""

    type: ConditionType
    status: bool | None
    reason: str
    message: str


def of(view: View) -> list[Truth]:
    """All conditions, the roll-up Ready first."""
    found = (compute(view) for compute in _CONDITIONS)
    return [truth for truth in found if truth is not None]


def headline(view: View, ready: Truth) -> tuple[str, str]:
    """The column REASON: the cause where something is wrong, else the Ready condition's reason."""
    if view.problem is None:
        return ready.reason, ready.message
    return view.problem.failure.reason, with_fix(view.problem.failure)


def with_fix(failure: Failure) -> str:
    return f"{failure.message}. Fix: {failure.fix}" if failure.fix else failure.message


def _planned(view: View) -> Truth:
    match view.planning:
        case Planned(revision=revision):
            return Truth(ConditionType.PLANNED, True, "Fits", "; ".join(revision.plan.explain))
        case Refused(failure=failure):
            return Truth(ConditionType.PLANNED, False, failure.reason, with_fix(failure))
        case Reading():
            message = "reading the model's config.json and safetensors headers"
            return Truth(ConditionType.PLANNED, None, "ReadingShape", message)


def _cached(view: View) -> Truth:
    return _from_problem(view, ConditionType.MODEL_CACHED) or _reached(
        view,
        ConditionType.MODEL_CACHED,
        Phase.FETCHING,
        done=("Verified", "the model's files are where the engine reads them"),
        doing=("Downloading", _progress(view)),
    )


def _scheduled(view: View) -> Truth:
    problem = _from_problem(view, ConditionType.SCHEDULED)
    if problem:
        return problem
    placed = sum("nodeName" in pod.object["spec"] for pod in view.pods)
    if view.pods and placed == len(view.pods):
        return Truth(ConditionType.SCHEDULED, True, "Scheduled", f"{placed} pods have their nodes")
    return Truth(ConditionType.SCHEDULED, None, "Waiting", "no pod has been placed yet")


def _healthy(view: View) -> Truth:
    return _from_problem(view, ConditionType.RUNTIME_HEALTHY) or _reached(
        view,
        ConditionType.RUNTIME_HEALTHY,
        Phase.WARMING,
        done=("Serving", "the engine has generated a token"),
        doing=("EngineStarting", _progress(view)),
    )


def _routed(view: View) -> Truth:
    if view.ready:
        return Truth(ConditionType.ROUTED, True, "Routed", f"{view.ready} pods take requests")
    return Truth(ConditionType.ROUTED, False, "NoReadyPods", "no pod takes requests")


def _progressing(view: View) -> Truth:
    if view.step.blocked is not None:
        name = names.revision_name(view.resolved.name, view.step.blocked.revision)
        message = f"{view.step.blocked.message} Change spec, or delete Deployment {name} to retry"
        return Truth(ConditionType.PROGRESSING, False, "RolloutBlocked", message)
    update, serving = view.update, view.step.serving
    if view.step.pause is not None and update is not None:
        message = f"revision {update.name} fails again and again: {view.step.pause.message}"
        return Truth(ConditionType.PROGRESSING, False, "RolloutBlocked", message)
    if update is not None and serving is not None and serving.name == update.name:
        if view.ready >= view.wanted:
            return Truth(ConditionType.PROGRESSING, False, "RolloutComplete", "nothing is left")
        return Truth(ConditionType.PROGRESSING, True, "Starting", _replicas(view))
    if update is not None and view.problem is not None and view.ready:
        message = f"revision {update.name} does not start; the one before it serves"
        return Truth(ConditionType.PROGRESSING, False, "RolloutBlocked", message)
    message = "; ".join([_replicas(view), *_left_alone(view)])
    return Truth(ConditionType.PROGRESSING, update is not None, "RollingOut", message)


def _ready(view: View) -> Truth:
    if view.ready and view.problem is not None:
        return Truth(ConditionType.READY, True, "Degraded", with_fix(view.problem.failure))
    if view.ready:
        return Truth(ConditionType.READY, True, "Serving", _replicas(view))
    if view.problem is not None:
        return Truth(ConditionType.READY, False, "Failed", with_fix(view.problem.failure))
    if view.size.awaits_requests and not view.observed.load.held:
        message = "nothing runs; the first request starts a replica"
        return Truth(ConditionType.READY, True, "ScaledToZero", message)
    if view.wanted == 0 and view.resolved.spec.scaling.mode is not ScalingMode.AUTO:
        return Truth(ConditionType.READY, False, "ScaledToZero", "spec.replicas is 0")
    return Truth(ConditionType.READY, False, "Activating", _progress(view))


def _scaling_active(view: View) -> Truth | None:
    """Only where Berth decides the size. It is told as seldom as the decision's own words."""
    told, load = view.size.scaling, view.observed.load
    if told is None:
        return None
    if load.complete:
        reason = "ScaleLimited" if told.reason in _LIMITS else told.reason
        return Truth(ConditionType.SCALING_ACTIVE, True, reason, told.message)
    if load.overdue:
        message = f"{_unheard(load)}; until then none goes, and only the first is added"
        return Truth(ConditionType.SCALING_ACTIVE, False, "MetricsUnavailable", message)
    return _as_before(view, ConditionType.SCALING_ACTIVE) or Truth(
        ConditionType.SCALING_ACTIVE, None, "Waiting", "no gateway has been heard yet"
    )


_LIMITS: Final = frozenset({"AtMaximum", "NoRoom"})


def _unheard(load: Load) -> str:
    return "a gateway does not tell its demand" if load.gateways else "no gateway tells its demand"


def _as_before(view: View, kind: ConditionType) -> Truth | None:
    """A new leader does not know yet what the last one told: it stands a moment longer."""
    stored = view.observed.cr.get("status", {}).get("conditions", [])
    found = next((one for one in stored if one["type"] == kind.value), None)
    if found is None:
        return None
    return Truth(kind, _TRUTHS.get(found["status"]), found["reason"], found["message"])


_TRUTHS: Final = {"True": True, "False": False}

_CONDITIONS: Final[tuple[Callable[[View], Truth | None], ...]] = (
    _ready,  # the roll-up first: it is what people look for
    _planned,  # what it needs is known
    _scheduled,  # it has a place
    _cached,  # it has its files
    _healthy,  # the engine runs
    _routed,  # clients reach it
    _progressing,  # the wanted revision is the one that serves
    _scaling_active,  # its size follows the queue
)


def _from_problem(view: View, kind: ConditionType) -> Truth | None:
    if view.problem is None or view.problem.condition != kind.value:
        return None
    return Truth(kind, False, view.problem.failure.reason, with_fix(view.problem.failure))


def _reached(
    view: View,
    kind: ConditionType,
    last: Phase,
    *,
    done: tuple[str, str],
    doing: tuple[str, str],
) -> Truth:
    """True once a pod is past the phase `last`."""
    if view.report is not None:
        past = ORDER[last] < ORDER[view.report.phase] < ORDER[Phase.DRAINING]
    else:  # an answer is late, and the engine starts only once the files are there
        past = kind is ConditionType.MODEL_CACHED and running(view.pods, "engine")
    if past or any(is_ready(pod.object) for pod in view.pods):
        return Truth(kind, True, *done)
    return Truth(kind, None if not view.pods else False, *doing)


def _progress(view: View) -> str:
    if view.report is None:
        return "waiting for the pod"
    percent = "" if view.report.percent is None else f" {view.report.percent} %"
    eta = "" if view.report.eta_seconds is None else f", about {view.report.eta_seconds} s left"
    return f"{view.report.phase.value}{percent}{eta}"


def _left_alone(view: View) -> list[str]:
    """Revisions that run and cannot be read: left as they are until the update serves."""
    children = view.observed.children
    running = {one["metadata"]["name"] for one in children.deployments}
    names = [one["metadata"]["name"] for one in unreadable(children.revisions)]
    return [
        f"{name} cannot be read, and its Deployment is left as it is until then"
        for name in names
        if name in running
    ]


def _replicas(view: View) -> str:
    return f"{view.ready} of {view.wanted} replicas serve"
