"""How many replicas a model is to have, and what is told of it: from `Observed` to the law.

`replicas` is the law, in numbers only. Here its numbers are found (in the spec, the plan, the
pods and the load) and its answer becomes data: a size, an Event, a status that changes seldom, and
when to look again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from berth_api import names
from berth_api.spec import ScalingMode
from berth_api.status import QueueStatus, ScalingStatus
from berth_operator.core import node_health, problems
from berth_operator.core.accelerators import room
from berth_operator.core.known import least
from berth_operator.core.kubernetes import (
    condition,
    is_active,
    is_ready,
    is_serving,
    is_starting,
    moment,
    timestamp,
)
from berth_operator.core.objects import pod_template
from berth_operator.core.observed import Load, Object, Observed, Pod, Remembered
from berth_operator.core.outcome import Attention, Event, EventType
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision, readable
from berth_operator.core.rollout import backoff
from berth_operator.core.rollout.draining import is_draining
from berth_operator.core.scaling import queue_depth, replicas
from berth_operator.settings import Settings

Told = TypeVar("Told", QueueStatus, ScalingStatus)

# Numbers in a status are for people: a write for every request would be one for nobody.
TOLD_SECONDS: Final = 5.0
# While gateways are waited for; and once it is clear that they do not answer.
_INCOMPLETE_SECONDS: Final = 2.0
_OVERDUE_SECONDS: Final = 30.0
# A start that takes so many times as long as planned is none that is waited for, nor one to learn.
LATE_STARTS: Final = 3.0


@dataclass(frozen=True)
class Size:
    """How many replicas are wanted. `scaling` is None where Berth does not decide it."""

    replicas: int
    remembered: Remembered
    attention: Attention
    queue: QueueStatus | None = None
    scaling: ScalingStatus | None = None
    events: tuple[Event, ...] = ()
    look_again_seconds: float | None = None

    @property
    def awaits_requests(self) -> bool:
        """At zero, and the first request will wake it."""
        return self.scaling is not None and self.replicas == 0


def decide(
    observed: Observed, resolved: Resolved, settings: Settings, update: Revision | None
) -> Size:
    """`update` is the revision that is wanted; without one the newest that runs is sized."""
    revision = update or _newest(observed)
    if resolved.spec.scaling.mode is not ScalingMode.AUTO:
        size = _asked_for(observed, resolved)
    elif revision is None:
        size = _unplanned(observed, resolved)
    else:
        size = _by_law(observed, resolved, settings, revision)
    return _with_queue(observed, size)


def _asked_for(observed: Observed, resolved: Resolved) -> Size:
    """Fixed and External: whoever writes spec.replicas has decided."""
    kept = Remembered(told_at=observed.remembered.told_at)
    return Size(resolved.spec.replicas, kept, Attention())


def _unplanned(observed: Observed, resolved: Resolved) -> Size:
    """Nothing can run yet, so that there is nothing to size."""
    return Size(resolved.spec.scaling.min_replicas, observed.remembered, Attention())


def _by_law(observed: Observed, resolved: Resolved, settings: Settings, revision: Revision) -> Size:
    before = observed.remembered
    current, first = _current(observed, resolved)
    planned = float(pod_template.expected_start_seconds(revision.plan))
    start = _start(observed, revision, LATE_STARTS * planned)
    target, why = queue_depth.per_replica(resolved.spec.scaling.target_queue_depth, revision)
    law = _law(
        observed,
        resolved,
        settings,
        revision,
        target=target,
        start=planned if start is None else start[1],
    )
    decision = replicas.decide(
        law, _signal(observed, law, current, planned), before.replicas, current
    )
    told = _told(observed, decision, law, why, scaled=not first and decision.replicas != current)
    return Size(
        decision.replicas,
        replace(before, replicas=decision.memory, asked=decision.replicas, start=start),
        Attention(decision.replicas * target, engines=decision.replicas > law.min_replicas),
        scaling=told,
        events=() if first else _events(current, decision),
        look_again_seconds=_look_again(observed.load, decision, told),
    )


def _newest(observed: Observed) -> Revision | None:
    running = {one["metadata"]["name"] for one in observed.children.deployments}
    stored = [
        revision
        for one in observed.children.revisions
        if one["metadata"]["name"] in running
        for revision in readable([one])
    ]
    return max(stored, key=lambda revision: revision.number, default=None)


def _current(observed: Observed, resolved: Resolved) -> tuple[int, bool]:
    """Replicas that are asked for now; and whether this is the model's first size.

    After a restart the status tells it, unless it was not told any more; and for a model that was
    not scaled by Berth until now its Deployments do.
    """
    if observed.remembered.asked is not None:
        return observed.remembered.asked, False
    stored = observed.cr.get("status", {}).get("scaling", {}).get("desiredReplicas")
    known = [_wanted(observed, one) for one in observed.children.deployments]
    if isinstance(stored, int):
        # Not it alone: who raised a Deployment may have ended before the status said so.
        known.append(stored)
    return (max(known), False) if known else (resolved.spec.scaling.min_replicas, True)


def _wanted(observed: Observed, deployment: Object) -> int:
    """A Deployment's replicas but for those that drain. In a roll-out each has a part of all."""
    size: int = deployment["spec"].get("replicas", 1)
    pods = observed.pods_of(deployment["metadata"]["labels"][names.LABEL_REVISION])
    draining = sum(is_active(pod.object) and is_draining(pod.object) for pod in pods)
    return max(0, size - draining)


def _law(
    observed: Observed,
    resolved: Resolved,
    settings: Settings,
    revision: Revision,
    *,
    target: int,
    start: float,
) -> replicas.Law:
    scaling = resolved.spec.scaling
    return replicas.Law(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        target_queue_depth=target,
        scale_down_delay_seconds=scaling.scale_down_delay_seconds,
        keep_alive_seconds=observed.load.keep_alive(resolved.spec.keep_alive),
        cold_start_seconds=start,
        room=room.replicas(observed, revision, settings),
        headroom=float(scaling.headroom),
    )


def _signal(observed: Observed, law: replicas.Law, current: int, planned: float) -> replicas.Signal:
    load, serving = observed.load, _serving(observed)
    return replicas.Signal(
        now=load.at,
        held=load.held,
        in_flight=sum(load.at_pod(uid) for uid in {*load.in_flight, *load.engines}),
        arrivals=load.arrivals,
        answered=load.answered,
        ready=len(serving),
        starting=max(0, current - len(serving) - _not_coming(observed, current, planned)),
        complete=load.complete,
        # A replica goes only when its engine has said lately that it does nothing for others.
        engines_known=current <= law.min_replicas or serving <= load.engines.keys(),
        epoch=load.epoch,
    )


def _not_coming(observed: Observed, current: int, planned: float) -> int:
    """Replicas that are not waited for: a model that cannot start must not hold its place."""
    alive = tuple(_alive(observed))
    faults = node_health.faults(observed)
    lost = sum(
        problems.of_pod(pod) is not None
        or _is_late(observed, pod, planned)
        or (not is_serving(pod.object) and pod.object["spec"].get("nodeName") in faults)
        for pod in alive
    )
    return lost + (max(0, current - len(alive)) if _is_refused(observed) else 0)


def _is_late(observed: Observed, pod: Pod, planned: float) -> bool:
    made = moment(pod.object["metadata"].get("creationTimestamp"))
    if made is None or not is_starting(pod.object):
        return False
    return (observed.now - made).total_seconds() > LATE_STARTS * planned


def _is_refused(observed: Observed) -> bool:
    """Whether no more pods are made: the API server lets none, or their revision has a pause."""
    made = (problems.of_deployment(one) for one in observed.children.deployments)
    refused = any(one.kind == "Deployment" for one in observed.refusals)
    return refused or backoff.pauses(observed) or any(problem is not None for problem in made)


def _serving(observed: Observed) -> set[str]:
    return {pod.object["metadata"]["uid"] for pod in _alive(observed) if is_serving(pod.object)}


def _alive(observed: Observed) -> Iterable[Pod]:
    return (pod for pod in observed.engines if is_active(pod.object))


def _start(observed: Observed, revision: Revision, most: float) -> tuple[str, float] | None:
    """The revision, and how long its quickest pod took from being made to its first token.

    A pod that was unready for a moment tells too much. Remembered, the true value outlives it; an
    operator that has just started does not remember, and believes `most` seconds at most.
    """
    known = observed.remembered.start
    kept = [known[1]] if known is not None and known[0] == revision.name else []
    took = kept + [
        (since - made).total_seconds()
        for pod in observed.pods_of(revision.name)
        if is_ready(pod.object)
        and (since := moment(condition(pod.object, "Ready").get("lastTransitionTime")))
        and (made := moment(pod.object["metadata"].get("creationTimestamp")))
    ]
    return (revision.name, min(*took, most)) if took else None


def _events(current: int, decision: replicas.Decision) -> tuple[Event, ...]:
    """One per change of size, in the words of the decision."""
    wanted = decision.replicas
    if wanted == current:
        return ()
    up, down = ("ScaledFromZero", "ScaledToZero") if not current * wanted else _BETWEEN
    message = f"from {current} to {wanted} replicas: {decision.reason}: {decision.message}"
    return (Event(EventType.NORMAL, up if wanted > current else down, message),)


_BETWEEN: Final = ("ScaledUp", "ScaledDown")


def _told(
    observed: Observed,
    decision: replicas.Decision,
    law: replicas.Law,
    why: str,
    *,
    scaled: bool,
) -> ScalingStatus:
    """The decision for people: as it was told before, unless it differs and it is time."""
    before = _stored(ScalingStatus, observed.cr.get("status", {}).get("scaling"))
    last = before.last_scale_time if before is not None else None
    now = ScalingStatus(
        desired_replicas=decision.replicas,
        target_queue_depth=law.target_queue_depth,
        target_reason=why,
        reason=decision.reason,
        message=decision.message,
        last_scale_time=timestamp(observed.now) if scaled else last,
    )
    if before is None or _size(before) != _size(now):
        return now
    return now if before.reason != now.reason and _due(observed) else before


def _size(told: ScalingStatus) -> tuple[int, int, str]:
    return told.desired_replicas, told.target_queue_depth, told.target_reason


def _with_queue(observed: Observed, size: Size) -> Size:
    """With who waits; numbers change in the status once in TOLD_SECONDS at most."""
    status: Mapping[str, Any] = observed.cr.get("status", {})
    before = _stored(QueueStatus, status.get("queue"))
    load = observed.load
    waits = QueueStatus(depth=load.held, oldest_seconds=int(load.oldest_seconds))
    now = waits if load.held else None
    queue = now if _due(observed) else before
    scaling = None if size.scaling is None else size.scaling.wire()
    new = queue != before or scaling != status.get("scaling")
    told_at = load.at if new else observed.remembered.told_at
    untold = TOLD_SECONDS if load.held or queue != now else None
    return replace(
        size,
        queue=queue,
        remembered=replace(size.remembered, told_at=told_at),
        look_again_seconds=least((size.look_again_seconds, untold)),
    )


def _due(observed: Observed) -> bool:
    last = observed.remembered.told_at
    return last is None or observed.load.at - last >= TOLD_SECONDS


def _look_again(load: Load, decision: replicas.Decision, told: ScalingStatus) -> float | None:
    wishes = [decision.look_again_seconds]
    if not load.complete:
        wishes.append(_OVERDUE_SECONDS if load.overdue else _INCOMPLETE_SECONDS)
    if told.reason != decision.reason:
        wishes.append(TOLD_SECONDS)
    return least(wishes)


def _stored(kind: type[Told], stored: Object | None) -> Told | None:
    """What was told before; None also if it was of another version, and cannot be read."""
    try:
        return None if stored is None else kind.model_validate(stored)
    except ValidationError:
        return None
