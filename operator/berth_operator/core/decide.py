"""One ModelDeployment, from what is seen to what is done next: the operator's thinking on a page.

Pure. Once all that it asks for is written, `execute(decide(observe()))` does nothing again.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from pydantic import ValidationError

from berth_api.server import Phase
from berth_operator.core import node_health, pace, status
from berth_operator.core.accelerators import room
from berth_operator.core.kubernetes import absent, is_ready, is_starting, is_terminating
from berth_operator.core.objects import budget, deployment, key_secret, service
from berth_operator.core.observed import Object, Observed, Pod
from berth_operator.core.outcome import Deletion, Outcome
from berth_operator.core.planner import lessons, planning
from berth_operator.core.planner.context import Context
from berth_operator.core.planner.learned import Record
from berth_operator.core.planner.planning import Planned, Planning, Reading, Refused
from berth_operator.core.pools import member as pooled
from berth_operator.core.resolved import Resolved, resolve
from berth_operator.core.revision import Revision, to_object
from berth_operator.core.rollout import draining, reaping, set_aside
from berth_operator.core.rollout.step import PATIENCE, Step, next_step
from berth_operator.core.scaling import size as sizing
from berth_operator.core.scaling.size import Size

# How often a pod that does not serve yet is asked how far it is.
_POLL_SECONDS: Final = 1.0
# Nodes come and go without waking a model; what was refused for want of them is judged again.
_NODES_SECONDS: Final = 10.0
# How often one that serves is asked for its measures, until it tells them.
_MEASURES_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Decision:
    """What was decided for one object; `status` describes it."""

    planning: Planning
    size: Size
    step: Step

    @property
    def update(self) -> Revision | None:
        return self.planning.revision if isinstance(self.planning, Planned) else None


def decide(observed: Observed, context: Context) -> Outcome:
    return _paced(observed, _decided(observed, context))


def _paced(observed: Observed, outcome: Outcome) -> Outcome:
    """Without the status, for as long as it may wait; remembers when one was told."""
    told, told_at = observed.cr.get("status", {}), observed.remembered.status_at
    wanted, again = outcome.status, outcome.look_again_seconds
    if wanted is not None and wanted != told:
        wait = pace.seconds_to_wait(told, wanted, told_at, observed.now)
        if wait:
            again = wait if again is None else min(again, wait)
            outcome = replace(outcome, status=None, events=(), look_again_seconds=again)
        else:
            told_at = observed.now
    return replace(outcome, remember=replace(outcome.remember, status_at=told_at))


def _decided(observed: Observed, context: Context) -> Outcome:
    if is_terminating(observed.cr):
        return Outcome()  # Kubernetes deletes the children: they are owned
    try:
        resolved = resolve(observed.cr)
    except (ValidationError, ValueError) as invalid:
        told = status.of_invalid(observed, str(invalid), in_pool=_in_pool(observed))
        return Outcome(status=told, patch=draining.reopened(observed))
    if resolved.spec.paused:
        told = status.of_paused(observed, resolved, in_pool=_in_pool(observed))
        return Outcome(status=told, patch=draining.reopened(observed))
    if resolved.spec.pool is not None:
        return pooled.decide(observed, resolved, context)
    return _decide(observed, resolved, context)


def _in_pool(observed: Observed) -> bool:
    """Whether an engine of its pool answers for it."""
    return pooled.answering(observed) is not None


def _decide(seen: Observed, resolved: Resolved, context: Context) -> Outcome:
    observed, left_over = pooled.left(seen)
    planned = planning.plan(observed, resolved, context)
    update = planned.revision if isinstance(planned, Planned) else None
    size = sizing.decide(observed, resolved, context.settings, update)
    patience = _patience(update, context)
    step = next_step(observed, resolved, update, size.replicas, patience=patience)
    decision = Decision(planned, size, step)
    told = status.of(observed, resolved, context.settings, planned, size=size, step=step)
    aside = set_aside.patches(observed, node_health.faults(observed), step.patches)
    poll = (*_unmeasured(observed, told.status), *decision.step.poll)
    key = key_secret.key_hash(resolved, context.master_key) if step.run else None
    return Outcome(
        patch=(*step.patches, *aside),
        apply=tuple(_wanted(observed, resolved, context, decision, key)),
        delete=(*_unwanted(observed, resolved, decision), *left_over),
        status=told.status,
        events=told.events,
        look_again_seconds=_look_again(observed, decision, poll),
        learn=_lessons(observed, resolved, decision, told.status),
        poll=poll,
        remember=replace(size.remembered, key=key),
        attention=size.attention,
    )


def _patience(update: Revision | None, context: Context) -> timedelta:
    """How long a roll-out waits for a spare accelerator: for a node, where one may be brought."""
    if update is not None and room.can_grow(update, context.settings):
        return timedelta(seconds=context.settings.accelerator_fallback_seconds)
    return PATIENCE


def _lessons(
    observed: Observed, resolved: Resolved, decision: Decision, told: dict[str, Any]
) -> tuple[Record, ...]:
    """Of a failure that was just planned around, or of a measurement told for the first time."""
    planned = decision.planning
    if isinstance(planned, Planned) and planned.lesson is not None:
        return lessons.of_failure(planned.lesson, resolved.spec, observed.now)
    return lessons.of_status(observed, decision.update, told, resolved.spec)


def _wanted(
    observed: Observed, resolved: Resolved, context: Context, decision: Decision, key: str | None
) -> list[dict[str, Any]]:
    """In the order of need: the key before the pods that mount it, the Service before both.

    `key` is the engine key's hash; None: nothing runs.
    """
    wanted: list[dict[str, Any]] = []
    if isinstance(decision.planning, Reading):
        wanted += absent([decision.planning.job], observed.children.jobs)
    if key is None:
        return wanted
    if not _key_written(observed, key):
        wanted.append(key_secret.build(resolved, context.master_key))
    wanted += [service.build(resolved, key), budget.build(resolved)]
    for run in decision.step.run:
        wanted += absent([to_object(resolved, run.revision)], observed.children.revisions)
        wanted.append(deployment.build(resolved, run.revision, run.replicas, run.marks))
    return wanted


def _unwanted(observed: Observed, resolved: Resolved, decision: Decision) -> list[Deletion]:
    jobs = planning.superseded_jobs(observed, resolved, decision.planning)
    return [
        Deletion(
            api_version=_API_VERSIONS[kind],
            kind=kind,
            name=thing["metadata"]["name"],
            uid=thing["metadata"]["uid"],
        )
        for kind, thing in [
            *(("Job", job) for job in jobs),
            *((_kind(observed, thing), thing) for thing in decision.step.retire),
            *(("Pod", pod) for pod in reaping.reaped(observed)),
        ]
        if not is_terminating(thing)
    ]


_API_VERSIONS: Final = {
    "Job": "batch/v1",
    "Pod": "v1",
    "Deployment": "apps/v1",
    "ControllerRevision": "apps/v1",
}


def _kind(observed: Observed, thing: Object) -> str:
    return "Deployment" if thing in observed.children.deployments else "ControllerRevision"


def _key_written(observed: Observed, key_hash: str) -> bool:
    told = any(
        one["metadata"].get("annotations", {}).get(service.ANNOTATION_ENGINE_KEY) == key_hash
        for one in observed.children.services
    )
    return (told or _key_remembered(observed, key_hash)) and not _key_missing(observed)


def _key_remembered(observed: Observed, key_hash: str) -> bool:
    """Of the last look, which may have left the Service for this one."""
    refused = any(one.kind == "Secret" for one in observed.refusals)
    return observed.remembered.key == key_hash and not refused


def _key_missing(observed: Observed) -> bool:
    """A pod that has not started waits for the key's Secret: someone deleted it."""
    stuck = {pod.object["metadata"]["name"] for pod in _starting(observed)}
    return any(
        warning.get("reason") == "FailedMount"
        and "secret" in str(warning.get("message", "")).lower()
        and warning.get("involvedObject", {}).get("name") in stuck
        for warning in observed.warnings
    )


def _starting(observed: Observed) -> list[Pod]:
    """Engine pods that do not serve yet and may still."""
    return [pod for pod in observed.engines if is_starting(pod.object)]


def _look_again(observed: Observed, decision: Decision, poll: tuple[str, ...]) -> float | None:
    wishes = [_POLL_SECONDS] if _starting(observed) else [_MEASURES_SECONDS] if poll else []
    if isinstance(decision.planning, Refused):
        retry = decision.planning.retry_seconds
        wishes.append(_NODES_SECONDS if retry is None else max(_POLL_SECONDS, retry))
    if decision.step.look_again_seconds is not None:
        wishes.append(decision.step.look_again_seconds)
    if decision.size.look_again_seconds is not None:
        wishes.append(decision.size.look_again_seconds)
    return min(wishes, default=None)


def _unmeasured(observed: Observed, told: dict[str, Any]) -> tuple[str, ...]:
    """Ready pods to ask once more, because the plan has no measures beside it yet."""
    if "plan" not in told or "measured" in told["plan"]:
        return ()
    ready = [pod for pod in observed.pods if is_ready(pod.object)]
    if any(pod.report is not None and pod.report.phase is Phase.SERVING for pod in ready):
        return ()  # it has answered, and has measured nothing
    return tuple(pod.object["metadata"]["uid"] for pod in ready)
