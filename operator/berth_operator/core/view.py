"""What a status is computed from: the pods that are shown, their furthest report, the problem.

Put together once, so that the phase, the conditions and the columns cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from berth_api import names
from berth_api.server import Phase, PodStatus
from berth_api.status import ConditionType
from berth_operator.core import node_health, problems
from berth_operator.core.kubernetes import (
    container_statuses,
    ended_at,
    is_active,
    is_finished,
    is_ready,
    is_serving,
    is_terminating,
)
from berth_operator.core.node_health import NodeFault
from berth_operator.core.observed import Observed, Pod
from berth_operator.core.planner.planning import Planned, Planning, Reading, Refused
from berth_operator.core.problems import Problem
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision
from berth_operator.core.rollout import backoff, set_aside
from berth_operator.core.rollout.backoff import Pause
from berth_operator.core.rollout.step import Step
from berth_operator.core.scaling.size import Size

# Phases that are not a pod's.
PLANNING: Final = "Planning"
IDLE: Final = "Idle"

# A pod's phases from the least to the most advanced.
ORDER: Final = {phase: order for order, phase in enumerate(Phase)}


@dataclass(frozen=True)
class View:
    """Everything that the conditions are computed from."""

    observed: Observed
    resolved: Resolved
    planning: Planning
    size: Size
    step: Step
    update: Revision | None
    pods: tuple[Pod, ...]  # of the update revision, or of the one that is held
    ready: int  # pods that take requests, of any revision
    problem: Problem | None
    report: PodStatus | None  # of the furthest pod

    @property
    def wanted(self) -> int:
        return self.size.replicas


def of(observed: Observed, resolved: Resolved, planning: Planning, size: Size, step: Step) -> View:
    update = planning.revision if isinstance(planning, Planned) else None
    shown = step.serving if step.blocked else update or step.serving
    pods = observed.pods_of(shown.name) if shown else _shape_pods(observed)
    there = tuple(pod for pod in pods if not is_terminating(pod.object))
    alive = tuple(pod for pod in there if not is_finished(pod.object)) or there
    reading = _shape_pods(observed) if shown and update is None else ()
    return View(
        observed=observed,
        resolved=resolved,
        planning=planning,
        size=size,
        step=step,
        update=update,
        pods=alive if shown else (),
        ready=sum(is_serving(pod.object) for pod in observed.engines),
        problem=_problem(observed, planning, step, (*alive, *reading))
        or _rejected(observed, there, size),
        report=_furthest(alive),
    )


def replica_count(observed: Observed) -> int:
    return sum(
        not (is_terminating(pod.object) or is_finished(pod.object)) for pod in observed.engines
    )


def _shape_pods(observed: Observed) -> tuple[Pod, ...]:
    return tuple(pod for pod in observed.pods if _role(pod) == names.ROLE_SHAPE)


def _role(pod: Pod) -> str:
    role: str = pod.object["metadata"]["labels"].get(names.LABEL_ROLE, "")
    return role


def _problem(
    observed: Observed, planning: Planning, step: Step, pods: tuple[Pod, ...]
) -> Problem | None:
    """The cause that a user should mend first: the plan, then refusals, then the pods."""
    if isinstance(planning, Refused):
        return Problem(ConditionType.PLANNED.value, planning.failure)
    if observed.refusals:
        return problems.of_refusal(observed.refusals[0])
    if step.blocked is not None:
        return step.blocked.problem
    if step.pause is not None:
        return _paused(step.pause)
    unmade = (problems.of_deployment(one) for one in observed.children.deployments)
    faults = node_health.faults(observed)
    waiting = [pod for pod in pods if not is_ready(pod.object)]
    sound = [pod for pod in waiting if pod.object["spec"].get("nodeName") not in faults]
    return (
        next((p for p in unmade if p is not None), None)
        or _told(problems.of_pods(sound), planning)
        or _of_nodes(observed, faults)
        or problems.of_warnings(observed.warnings, waiting)
    )


def _paused(pause: Pause) -> Problem:
    """With when it is tried again, and what it takes to have that sooner."""
    failure = pause.problem.failure
    fix = f"{failure.fix}; it is tried at once if spec changes or its Deployment is deleted"
    told = failure.model_copy(update={"message": pause.message, "fix": fix})
    return replace(pause.problem, failure=told)


def _of_nodes(observed: Observed, faults: Mapping[str, NodeFault]) -> Problem | None:
    """A pod that is on a node with a fault; one that does not serve is told first."""
    aside = set_aside.chosen(observed, faults)
    found = [
        pod.object
        for pod in observed.engines
        if is_active(pod.object) and pod.object["spec"].get("nodeName") in faults
    ]
    for pod in sorted(found, key=is_ready):
        told = "serves on, for there are not enough others"
        if pod["metadata"]["uid"] in aside:
            told = "takes no new requests while others serve"
        elif not is_ready(pod):
            told = "does not serve"
        return problems.of_fault(pod, faults[pod["spec"]["nodeName"]], told)
    return None


def _rejected(observed: Observed, pods: tuple[Pod, ...], size: Size) -> Problem | None:
    """Why a replica is missing that a kubelet would not have, a moment ago."""
    if sum(is_ready(pod.object) for pod in observed.engines) >= size.replicas:
        return None
    since = observed.now - backoff.WINDOW
    return problems.of_pods(
        pod for pod in pods if is_finished(pod.object) and (ended_at(pod.object) or since) > since
    )


def _told(problem: Problem | None, planning: Planning) -> Problem | None:
    """With what becomes of pods that wait for a node."""
    if problem is None or not (isinstance(planning, Planned) and planning.waiting):
        return problem
    if problem.condition != ConditionType.SCHEDULED.value:
        return problem
    failure = problem.failure
    fix = f"{failure.fix}; {planning.waiting}"
    return replace(problem, failure=failure.model_copy(update={"fix": fix}))


def _furthest(pods: tuple[Pod, ...]) -> PodStatus | None:
    reports = [pod.report for pod in pods if pod.report is not None]
    return max(reports, key=lambda report: _order(report.phase), default=None)


def _order(phase: Phase) -> int:
    """Failed is the last of the enum and the least advanced of pods."""
    return -1 if phase is Phase.FAILED else ORDER[phase]


def phase_of(view: View) -> str:
    if view.ready:
        return Phase.SERVING.value
    if view.report is not None and view.report.phase is not Phase.FAILED:
        # Also after a failure: the pod tries again, and the reason tells what it met before.
        return _NOT_READY.get(view.report.phase, view.report.phase).value
    if view.problem is not None and view.problem.condition != ConditionType.SCHEDULED.value:
        return Phase.FAILED.value
    if isinstance(view.planning, Reading):
        return PLANNING
    return _phase_by_containers(view) if view.wanted else IDLE


def _phase_by_containers(view: View) -> str:
    """While the pod has not answered: what the kubelet says of it."""
    if running(view.pods, "engine"):
        last = _remembered(view)
        return last if last and last != Phase.FETCHING.value else Phase.STARTING.value
    if any(running(view.pods, name) for name in ("fetch", "copy", "adapters")):
        return Phase.FETCHING.value
    # Between two containers of a pod it does not fall back to where it began.
    return _remembered(view) or Phase.PENDING.value


def progress_of(view: View) -> str | None:
    """The phase's percent as "43%"; the last that was told while an answer is late."""
    if view.ready:
        return None
    if view.report is not None:
        return None if view.report.percent is None else f"{view.report.percent}%"
    told = view.observed.cr.get("status", {})
    late = _remembered(view) == phase_of(view)
    return told.get("progress") if late else None


def _remembered(view: View) -> str | None:
    """The pod's phase as it was told last, if it was of the same revision and under way."""
    told = view.observed.cr.get("status", {})
    same = view.update is not None and told.get("updateRevision") == view.update.name
    last: str = told.get("phase", "")
    return last if same and last in _UNDER_WAY and _begun(view.pods) else None


def _begun(pods: tuple[Pod, ...]) -> bool:
    """Whether a container of theirs has run: a pod that was just made has nothing to remember."""
    return any(
        container.get("state", {}).keys() & {"running", "terminated"}
        for pod in pods
        for container in container_statuses(pod.object)
    )


_UNDER_WAY: Final = frozenset(
    phase.value
    for phase in (Phase.FETCHING, Phase.STARTING, Phase.LOADING, Phase.COMPILING, Phase.WARMING)
)


# The engine has answered, and the kubelet has not yet asked.
_NOT_READY: Final = {Phase.SERVING: Phase.WARMING}


def running(pods: tuple[Pod, ...], name: str) -> bool:
    """Whether a pod's container of that name runs; `copy` cannot say how far it is."""
    return any(
        container["name"] == name and "running" in container.get("state", {})
        for pod in pods
        for container in container_statuses(pod.object)
    )
