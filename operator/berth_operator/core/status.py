"""What `kubectl get` and `describe` say: phase, conditions and the one reason that matters.

A roll-up of the plan, the pods and the roll-out. Nothing is decided here, and nothing is written
that did not change: transition times are taken over from the previous status.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from berth_api import names
from berth_api.server import Measured, Phase, PodStatus
from berth_api.shape import Failure
from berth_api.types import (
    Condition,
    ConditionType,
    LastFailure,
    Load,
    Memories,
    ModelStatus,
    Status,
)
from berth_operator.core import problems, rollout
from berth_operator.core.kubernetes import container_statuses, is_ready, is_terminating
from berth_operator.core.observed import Observed, Pod
from berth_operator.core.outcome import Event, EventType
from berth_operator.core.planning import Planned, Planning, Reading, Refused
from berth_operator.core.problems import Problem
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision
from berth_operator.settings import Settings

# Phases that are not a pod's.
PLANNING: Final = "Planning"
IDLE: Final = "Idle"

# A pod's phases from the least to the most advanced.
_ORDER: Final = {phase: order for order, phase in enumerate(Phase)}


@dataclass(frozen=True)
class Told:
    status: dict[str, Any]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class View:
    """Everything that the conditions are computed from."""

    observed: Observed
    resolved: Resolved
    planning: Planning
    step: rollout.Step
    update: Revision | None
    pods: tuple[Pod, ...]  # of the update revision, or of the one that is held
    ready: int  # pods that serve, of any revision
    problem: Problem | None
    report: PodStatus | None  # of the furthest pod

    @property
    def wanted(self) -> int:
        return self.resolved.spec.replicas


@dataclass(frozen=True)
class Truth:
    """One condition, before it has times."""

    type: ConditionType
    status: bool | None
    reason: str
    message: str


def of(
    observed: Observed,
    resolved: Resolved,
    settings: Settings,
    planning: Planning,
    step: rollout.Step,
) -> Told:
    view = _view(observed, resolved, planning, step)
    truths = [compute(view) for compute in _CONDITIONS]
    ready = next(truth for truth in truths if truth.type is ConditionType.READY)
    reason, message = _headline(view, ready)
    progress = view.report.percent if view.report and not view.ready else None
    told = Status(
        observed_generation=resolved.generation,
        phase=_phase(view),
        progress=None if progress is None else f"{progress}%",
        reason=reason,
        message=message,
        url=settings.url,
        replicas=len([pod for pod in _engines(observed) if not is_terminating(pod.object)]),
        ready_replicas=view.ready,
        updated_replicas=len(view.pods),
        selector=f"{names.LABEL_MODEL}={resolved.name},{names.LABEL_ROLE}={names.ROLE_ENGINE}",
        current_revision=step.serving.name if step.serving else None,
        update_revision=view.update.name if view.update else None,
        model=_model(view.update),
        plan=_plan(view),
        load=_load(view),
        last_failure=_last_failure(view),
        conditions=_conditions(observed, resolved.generation, truths),
    ).wire()
    return Told(told, _events(observed, told))


def of_invalid(observed: Observed, message: str) -> dict[str, Any]:
    """For an object that passed the API server's checks of another version, but not ours."""
    return _only(observed, "InvalidSpec", message, ready=False)


def of_paused(observed: Observed, resolved: Resolved) -> dict[str, Any]:
    """The rest of the status stays as it was; only the pause is shown."""
    previous = dict(observed.cr.get("status", {}))
    paused = Truth(ConditionType.PAUSED, True, "Paused", "spec.paused is true")
    kept = [c for c in previous.get("conditions", []) if c["type"] != ConditionType.PAUSED.value]
    shown = _conditions(observed, resolved.generation, [paused])
    return previous | {
        "observedGeneration": resolved.generation,
        "reason": paused.reason,
        "conditions": [*kept, *(one.wire() for one in shown)],
    }


def _only(observed: Observed, reason: str, message: str, *, ready: bool) -> dict[str, Any]:
    generation = observed.cr["metadata"].get("generation", 0)
    truth = Truth(ConditionType.READY, ready, reason, message)
    return Status(
        observed_generation=generation,
        phase=Phase.FAILED.value,
        reason=reason,
        message=message,
        conditions=_conditions(observed, generation, [truth]),
    ).wire()


def _view(observed: Observed, resolved: Resolved, planning: Planning, step: rollout.Step) -> View:
    update = planning.revision if isinstance(planning, Planned) else None
    shown = update or step.serving
    pods = rollout.pods_of(observed, shown.name) if shown else _shape_pods(observed)
    alive = tuple(pod for pod in pods if not is_terminating(pod.object))
    return View(
        observed=observed,
        resolved=resolved,
        planning=planning,
        step=step,
        update=update,
        pods=alive if shown else (),
        ready=sum(is_ready(pod.object) for pod in _engines(observed)),
        problem=_problem(observed, planning, alive),
        report=_furthest(alive),
    )


def _engines(observed: Observed) -> Iterable[Pod]:
    return (pod for pod in observed.pods if _role(pod) == names.ROLE_ENGINE)


def _shape_pods(observed: Observed) -> tuple[Pod, ...]:
    return tuple(pod for pod in observed.pods if _role(pod) == names.ROLE_SHAPE)


def _role(pod: Pod) -> str:
    role: str = pod.object["metadata"]["labels"].get(names.LABEL_ROLE, "")
    return role


def _problem(observed: Observed, planning: Planning, pods: tuple[Pod, ...]) -> Problem | None:
    """The cause that a user should mend first: the plan, then refusals, then the pods."""
    if isinstance(planning, Refused):
        return Problem(ConditionType.PLANNED.value, planning.failure)
    if observed.refusals:
        return problems.of_refusal(observed.refusals[0])
    unmade = (problems.of_deployment(one) for one in observed.children.deployments)
    return next((p for p in unmade if p is not None), None) or problems.of_pods(
        pod for pod in pods if not is_ready(pod.object)
    )


def _furthest(pods: tuple[Pod, ...]) -> PodStatus | None:
    reports = [pod.report for pod in pods if pod.report is not None]
    return max(reports, key=lambda report: _ORDER[report.phase], default=None)


def _phase(view: View) -> str:
    if view.ready:
        return Phase.SERVING.value
    if view.report is not None and view.report.phase is not Phase.FAILED:
        # Also after a failure: the pod tries again, and the reason tells what it met before.
        return _NOT_READY.get(view.report.phase, view.report.phase).value
    if view.problem is not None and view.problem.condition != ConditionType.SCHEDULED.value:
        return Phase.FAILED.value
    if isinstance(view.planning, Reading):
        return PLANNING
    if view.wanted == 0:
        return IDLE
    return Phase.FETCHING.value if _copying(view.pods) else Phase.PENDING.value


# The engine has answered, and the kubelet has not yet asked.
_NOT_READY: Final = {Phase.SERVING: Phase.WARMING}


def _copying(pods: tuple[Pod, ...]) -> bool:
    """An init container copies the model's files out of an image; it cannot say how far it is."""
    return any(
        container["name"] == "copy" and "running" in container.get("state", {})
        for pod in pods
        for container in container_statuses(pod.object)
    )


def _headline(view: View, ready: Truth) -> tuple[str, str]:
    """The column REASON: the cause where something is wrong, else the Ready condition's reason."""
    if view.problem is None:
        return ready.reason, ready.message
    return view.problem.failure.reason, _with_fix(view.problem.failure)


def _with_fix(failure: Failure) -> str:
    return f"{failure.message}. Fix: {failure.fix}" if failure.fix else failure.message


# Conditions, in the order in which they become true.


def _planned(view: View) -> Truth:
    match view.planning:
        case Planned(revision=revision):
            return Truth(ConditionType.PLANNED, True, "Fits", "; ".join(revision.plan.explain))
        case Refused(failure=failure):
            return Truth(ConditionType.PLANNED, False, failure.reason, _with_fix(failure))
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
    update, serving = view.update, view.step.serving
    if update is not None and serving is not None and serving.name == update.name:
        if view.ready >= view.wanted:
            return Truth(ConditionType.PROGRESSING, False, "RolloutComplete", "nothing is left")
        return Truth(ConditionType.PROGRESSING, True, "Starting", _replicas(view))
    if update is not None and view.problem is not None and view.ready:
        message = f"revision {update.name} does not start; the one before it serves"
        return Truth(ConditionType.PROGRESSING, False, "RolloutBlocked", message)
    return Truth(ConditionType.PROGRESSING, update is not None, "RollingOut", _replicas(view))


def _ready(view: View) -> Truth:
    if view.ready and view.problem is not None:
        return Truth(ConditionType.READY, True, "Degraded", _with_fix(view.problem.failure))
    if view.ready:
        return Truth(ConditionType.READY, True, "Serving", _replicas(view))
    if view.problem is not None:
        return Truth(ConditionType.READY, False, "Failed", _with_fix(view.problem.failure))
    if view.wanted == 0:
        return Truth(ConditionType.READY, False, "ScaledToZero", "spec.replicas is 0")
    return Truth(ConditionType.READY, False, "Activating", _progress(view))


_CONDITIONS: Final = (
    _ready,  # the roll-up first: it is what people look for
    _planned,  # what it needs is known
    _scheduled,  # it has a place
    _cached,  # it has its files
    _healthy,  # the engine runs
    _routed,  # clients reach it
    _progressing,  # the wanted revision is the one that serves
)


def _from_problem(view: View, kind: ConditionType) -> Truth | None:
    if view.problem is None or view.problem.condition != kind.value:
        return None
    return Truth(kind, False, view.problem.failure.reason, _with_fix(view.problem.failure))


def _reached(
    view: View,
    kind: ConditionType,
    last: Phase,
    *,
    done: tuple[str, str],
    doing: tuple[str, str],
) -> Truth:
    """True once a pod is past the phase `last`."""
    past = (
        view.report is not None
        and _ORDER[last] < _ORDER[view.report.phase] < _ORDER[Phase.DRAINING]
    )
    if past or any(is_ready(pod.object) for pod in view.pods):
        return Truth(kind, True, *done)
    return Truth(kind, None if not view.pods else False, *doing)


def _progress(view: View) -> str:
    if view.report is None:
        return "waiting for the pod"
    percent = "" if view.report.percent is None else f" {view.report.percent} %"
    eta = "" if view.report.eta_seconds is None else f", about {view.report.eta_seconds} s left"
    return f"{view.report.phase.value}{percent}{eta}"


def _replicas(view: View) -> str:
    return f"{view.ready} of {view.wanted} replicas serve"


def _model(revision: Revision | None) -> ModelStatus | None:
    if revision is None:
        return None
    stored = max(revision.shape.tensorBytes.items(), key=lambda pair: pair[1], default=("", 0))
    return ModelStatus(
        commit=revision.shape.commit,
        file_bytes=revision.shape.fileBytes,
        parameters_dtype=stored[0],
    )


def _plan(view: View) -> Any:
    """The plan with what the engine measured beside it; measures outlive the pod that made them."""
    if view.update is None:
        return None
    engines = view.report.engines if view.report else []
    measured = _memories(engines[0].measured) if engines and view.ready else None
    previous = view.observed.cr.get("status", {})
    if measured is None and previous.get("updateRevision") == view.update.name:
        kept = previous.get("plan", {}).get("measured")
        measured = Memories.model_validate(kept) if kept else None
    return view.update.plan.model_copy(update={"measured": measured})


def _memories(measured: Measured) -> Memories | None:
    found = Memories.model_validate(measured.model_dump())
    return found if found.wire() else None


def _load(view: View) -> Load | None:
    if view.ready or view.report is None:
        return None
    return Load(
        phase=view.report.phase.value,
        percent=view.report.percent,
        eta_seconds=view.report.eta_seconds,
    )


def _last_failure(view: View) -> LastFailure | None:
    """The present failure, or the last one: it stays for whoever looks later."""
    stored = view.observed.cr.get("status", {}).get("lastFailure")
    previous = LastFailure.model_validate(stored) if stored else None
    if view.problem is None:
        return previous
    failure = view.problem.failure
    now = LastFailure(
        pod=view.problem.pod,
        reason=failure.reason,
        message=failure.message,
        fix=failure.fix,
        exit_code=view.problem.exit_code,
        time=_timestamp(view.observed.now),
        count=view.problem.count,
    )
    unchanged = previous is not None and previous.model_copy(update={"time": now.time}) == now
    return previous if unchanged else now


def _conditions(observed: Observed, generation: int, truths: Iterable[Truth]) -> list[Condition]:
    previous = {c["type"]: c for c in observed.cr.get("status", {}).get("conditions", [])}
    return [
        Condition(
            type=truth.type.value,
            status=_STATUS[truth.status],
            observed_generation=generation,
            last_transition_time=_since(previous, truth, observed.now),
            reason=truth.reason,
            message=truth.message,
        )
        for truth in truths
    ]


_STATUS: Final[dict[bool | None, Literal["True", "False", "Unknown"]]] = {
    True: "True",
    False: "False",
    None: "Unknown",
}


def _since(previous: dict[str, Any], truth: Truth, now: datetime) -> str:
    before = previous.get(truth.type.value)
    if before is not None and before["status"] == _STATUS[truth.status]:
        since: str = before["lastTransitionTime"]
        return since
    return _timestamp(now)


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _events(observed: Observed, told: dict[str, Any]) -> tuple[Event, ...]:
    """One Event whenever the column REASON changes."""
    previous = observed.cr.get("status", {}).get("reason")
    if told["reason"] == previous:
        return ()
    warning = told["phase"] == Phase.FAILED.value or told["reason"] == "Degraded"
    kind = EventType.WARNING if warning else EventType.NORMAL
    return (Event(kind, told["reason"], told["message"]),)
