"""What `kubectl get` and `describe` say: phase, conditions and the one reason that matters.

A roll-up of the plan, the pods and the roll-out. Nothing is decided here, and nothing is written
that did not change: transition times are taken over from the previous status.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from berth_api import names
from berth_api.server import Measured, Phase
from berth_api.status import (
    AdapterStatus,
    Condition,
    ConditionType,
    LastFailure,
    Load,
    Memories,
    ModelStatus,
    Status,
)
from berth_operator.core import conditions
from berth_operator.core import view as views
from berth_operator.core.conditions import Truth
from berth_operator.core.kubernetes import is_serving, timestamp
from berth_operator.core.observed import Observed
from berth_operator.core.outcome import Event, EventType
from berth_operator.core.planner import deviation
from berth_operator.core.planner.planning import Planned, Planning, Refused
from berth_operator.core.problems import Problem
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision
from berth_operator.core.rollout.step import Step
from berth_operator.core.scaling.size import Size
from berth_operator.core.view import View
from berth_operator.settings import Settings


@dataclass(frozen=True)
class Told:
    status: dict[str, Any]
    events: tuple[Event, ...]


def of(
    observed: Observed,
    resolved: Resolved,
    settings: Settings,
    planning: Planning,
    *,
    size: Size,
    step: Step,
) -> Told:
    view = views.of(observed, resolved, planning, size, step)
    truths = conditions.of(view)
    ready = next(truth for truth in truths if truth.type is ConditionType.READY)
    reason, message = conditions.headline(view, ready)
    told = Status(
        observed_generation=resolved.generation,
        phase=views.phase_of(view),
        progress=views.progress_of(view),
        reason=reason,
        message=message,
        url=settings.url,
        replicas=views.replica_count(observed),
        ready_replicas=view.ready,
        updated_replicas=len(view.pods),
        selector=f"{names.LABEL_MODEL}={resolved.name},{names.LABEL_ROLE}={names.ROLE_ENGINE}",
        current_revision=_current_revision(observed, step),
        update_revision=view.update.name if view.update else None,
        model=model(view.update),
        adapters=_adapters(observed, view),
        plan=_plan(view),
        load=_load(view),
        queue=size.queue,
        scaling=size.scaling,
        blocked_revision=step.blocked.revision if step.blocked else None,
        last_failure=last_failure(observed, view.problem or _overcome(planning)),
        conditions=conditions_of(observed, resolved.generation, truths),
    ).wire()
    news = (*_left(planning), *_once_more(planning), *size.events)
    news += (*_rolled_back(observed, step), *_paused(observed, step), *events_of(observed, told))
    return Told(told, news)


def _current_revision(observed: Observed, step: Step) -> str | None:
    """The one that served last: one that never has is nothing that an update could fall back to."""
    told: str | None = observed.cr.get("status", {}).get("currentRevision")
    if step.serving is None:
        return told
    return step.serving.name if _serves(observed, step.serving) else told


def _serves(observed: Observed, revision: Revision) -> bool:
    return any(is_serving(pod.object) for pod in observed.pods_of(revision.name))


def of_invalid(observed: Observed, message: str, *, in_pool: bool) -> dict[str, Any]:
    """For an object that passed the API server's checks of another version, but not ours."""
    generation = observed.cr["metadata"].get("generation", 0)
    truth = Truth(ConditionType.PLANNED, False, "InvalidSpec", message)
    return _frozen(observed, generation, truth, in_pool=in_pool)


def of_paused(observed: Observed, resolved: Resolved, *, in_pool: bool) -> dict[str, Any]:
    truth = Truth(ConditionType.PAUSED, True, "Paused", "spec.paused is true: nothing is changed")
    return _frozen(observed, resolved.generation, truth, in_pool=in_pool)


def _frozen(observed: Observed, generation: int, truth: Truth, *, in_pool: bool) -> dict[str, Any]:
    """What was told before, the pods as they are, and why nothing more is done."""
    previous = dict(observed.cr.get("status", {}))
    ready = sum(is_serving(pod.object) for pod in observed.engines) + in_pool
    roll_up = Truth(ConditionType.READY, ready > 0, truth.reason, truth.message)
    changed = {truth.type.value, roll_up.type.value}
    kept = [c for c in previous.get("conditions", []) if c["type"] not in changed]
    shown = conditions_of(observed, generation, [roll_up, truth])
    return previous | {
        "observedGeneration": generation,
        "phase": Phase.SERVING.value if ready else _phase_without(previous),
        "reason": truth.reason,
        "message": truth.message,
        "replicas": views.replica_count(observed) + in_pool,
        "readyReplicas": ready,
        "conditions": [*(one.wire() for one in shown), *kept],
    }


def _phase_without(previous: dict[str, Any]) -> str:
    """Nobody serves any more, and nobody looks how far the pods are."""
    told: str = previous.get("phase", Phase.FAILED.value)
    return Phase.PENDING.value if told == Phase.SERVING.value else told


def model(revision: Revision | None) -> ModelStatus | None:
    if revision is None:
        return None
    stored = max(revision.shape.tensorBytes.items(), key=lambda pair: pair[1], default=("", 0))
    return ModelStatus(
        commit=revision.shape.commit,
        file_bytes=revision.shape.fileBytes,
        parameters_dtype=stored[0],
        architecture=str(revision.shape.config.get("model_type", "")),
    )


def _adapters(observed: Observed, view: View) -> list[AdapterStatus] | None:
    """Of a roll-out, those that both revisions have: clients meet either of them."""
    serving = view.step.serving
    if serving is not None and not _serves(observed, serving):
        serving = None
    shown = [one for one in (serving, None if view.step.blocked else view.update) if one]
    if not shown or not all(one.adapters for one in shown):
        return None
    return [
        AdapterStatus(name=name, commit=one.commit, rank=one.rank, file_bytes=one.fileBytes)
        for name, one in shown[-1].adapters.items()
        if all(other.adapters.get(name) == one for other in shown)
    ]


def _plan(view: View) -> Any:
    """The plan with what the engine measured beside it; measures outlive the pod that made them."""
    if view.update is None:
        return view.planning.plan if isinstance(view.planning, Refused) else None
    serves = view.report is not None and view.report.phase is Phase.SERVING
    engines = view.report.engines if view.report and serves else []
    measured = _memories(engines[0].measured) if engines else None
    previous = view.observed.cr.get("status", {})
    # A pod that starts anew is measured anew.
    if measured is None and view.ready and previous.get("updateRevision") == view.update.name:
        kept = previous.get("plan", {}).get("measured")
        measured = Memories.model_validate(kept) if kept else None
    compared = deviation.percent(view.update.plan, measured) if measured else None
    return view.update.plan.model_copy(update={"measured": measured, "deviation_percent": compared})


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


def last_failure(observed: Observed, problem: Problem | None) -> LastFailure | None:
    """The present failure, or the last one: it stays for whoever looks later."""
    stored = observed.cr.get("status", {}).get("lastFailure")
    previous = LastFailure.model_validate(stored) if stored else None
    if problem is None:
        return previous
    failure = problem.failure
    now = LastFailure(
        pod=problem.pod,
        node=problem.node,
        reason=failure.reason,
        message=failure.message,
        fix=failure.fix,
        exit_code=problem.exit_code,
        time=timestamp(observed.now),
        count=problem.count,
    )
    unchanged = previous is not None and previous.model_copy(update={"time": now.time}) == now
    return previous if unchanged else now


def _overcome(planning: Planning) -> Problem | None:
    """The failure that another plan was just made for."""
    lesson = planning.lesson if isinstance(planning, Planned) else None
    return None if lesson is None else lesson.problem


def conditions_of(observed: Observed, generation: int, truths: Iterable[Truth]) -> list[Condition]:
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
    return timestamp(now)


def _left(planning: Planning) -> tuple[Event, ...]:
    """One Event when an accelerator had no room, and the next is gone to."""
    left = planning.left if isinstance(planning, Planned) else ""
    return (Event(EventType.WARNING, "AcceleratorFallback", left),) if left else ()


def _once_more(planning: Planning) -> tuple[Event, ...]:
    """One Event when a failure for memory led to another plan: no condition will tell of it."""
    lesson = planning.lesson if isinstance(planning, Planned) else None
    if lesson is None or not isinstance(planning, Planned):
        return ()
    failure, chosen = lesson.problem.failure, planning.revision.plan
    message = (
        f"{failure.message}; planned once more: tensor parallel {chosen.tensor_parallel_size}, a "
        f"context of {chosen.max_model_len} tokens"
    )
    return (Event(EventType.WARNING, failure.reason, message),)


def _rolled_back(observed: Observed, step: Step) -> tuple[Event, ...]:
    """One Event when an update was given up for the revision before it."""
    before = observed.cr.get("status", {}).get("blockedRevision")
    if step.blocked is None or step.blocked.revision == before:
        return ()
    return (Event(EventType.WARNING, "RolloutBlocked", step.blocked.message),)


def _paused(observed: Observed, step: Step) -> tuple[Event, ...]:
    """One Event when a pause begins: its end is in the message."""
    before = observed.cr.get("status", {}).get("message", "")
    if step.pause is None or step.pause.until in before:
        return ()
    return (Event(EventType.WARNING, "RolloutBlocked", step.pause.message),)


def events_of(observed: Observed, told: dict[str, Any]) -> tuple[Event, ...]:
    """One Event whenever the column REASON changes."""
    previous = observed.cr.get("status", {}).get("reason")
    if told["reason"] == previous or (told["reason"] == "ScaledToZero" and "scaling" in told):
        return ()  # of its own scaling the decision has told
    warning = told["phase"] == Phase.FAILED.value or told["reason"] == "Degraded"
    kind = EventType.WARNING if warning else EventType.NORMAL
    return (Event(kind, told["reason"], told["message"]),)
