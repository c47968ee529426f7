"""Fewer replicas without a cut stream: a pod that goes is chosen, drained, and then given up.

A chosen pod loses its route label, so it leaves the EndpointSlices and gateways send it nothing
new. Once it is idle, or its time is over, it gets the lowest deletion cost; a look later, when
every controller has seen that, its Deployment's replicas are lowered and it is the one that goes.
What was still on its way is finished by the pod's own drain on SIGTERM.

Stateless: a pod's label and annotations tell how far it is, so a restarted operator goes on, and
one that changes its mind puts the label back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from berth_api import names
from berth_operator.core.kubernetes import annotation, is_ready, is_routed, moment
from berth_operator.core.observed import Load, Object, Observed, Pod
from berth_operator.core.outcome import Patch

# Since when a draining pod has had nothing to do, RFC 3339; only this operator reads it.
ANNOTATION_IDLE: Final = f"{names.GROUP}/idle-since"
# Kubernetes' own: of equally ready pods a ReplicaSet deletes the cheapest first.
ANNOTATION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
LOWEST_COST: Final = str(-(2**31))  # an int32
# A request that was picked just before the pod left the endpoints is counted well within this.
IDLE: Final = timedelta(seconds=1)
# How often a draining pod is asked what it still has in flight.
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Resize:
    """What one Deployment's way to its size takes now."""

    replicas: int
    patches: tuple[Patch, ...] = ()
    draining: tuple[str, ...] = ()  # uids of pods to ask, and to look at again


def is_draining(pod: Object) -> bool:
    """Whether this operator took it off the endpoints."""
    return annotation(pod, names.ANNOTATION_DRAINING) is not None


def resize(
    observed: Observed, pods: Sequence[Pod], *, asked: int, target: int, timeout: timedelta
) -> Resize:
    """From `asked` replicas towards `target`; `pods` are those that neither ended nor end."""
    surplus = max(0, len(pods) - target)
    ordered = sorted(_newest_first(pods), key=lambda pod: _worth(pod, observed.load))
    victims, kept = ordered[:surplus], ordered[surplus:]
    left = [pod for pod in victims if not _may_go(pod, observed, timeout)]
    replicas = target if asked <= target else min(asked, target + len(left))
    found = [
        *(_undrained(pod.object) for pod in kept if is_draining(pod.object)),
        *(_onwards(pod, observed, timeout) for pod in left),
    ]
    return Resize(
        replicas=replicas,
        patches=tuple(one for one in found if one is not None),
        draining=tuple(pod.object["metadata"]["uid"] for pod in left),
    )


def _newest_first(pods: Sequence[Pod]) -> list[Pod]:
    def age(pod: Pod) -> tuple[str, str]:
        metadata = pod.object["metadata"]
        return metadata.get("creationTimestamp", ""), metadata["name"]

    return sorted(pods, key=age, reverse=True)


def _worth(pod: Pod, load: Load) -> tuple[bool, bool, bool, bool, int]:
    """The least goes first. Ready pods stay first of all, as a ReplicaSet has it too."""
    return (
        is_ready(pod.object),
        bool(pod.object["spec"].get("nodeName")),
        not is_draining(pod.object),
        is_routed(pod.object),
        in_flight(pod, load),
    )


def in_flight(pod: Pod, load: Load) -> int:
    """Requests at the pod: what gateways sent, or more where the pod knows of more."""
    uid = pod.object["metadata"]["uid"]
    told = pod.report.in_flight if pod.report is not None else 0
    return max(load.at_pod(uid), told)


def _may_go(pod: Pod, observed: Observed, timeout: timedelta) -> bool:
    """Serves nobody, or has been given up for so long that its ReplicaSet knows."""
    if not is_ready(pod.object):
        return True
    since = past(annotation(pod.object, ANNOTATION_IDLE), observed.now)
    marked = since is not None and observed.now - since >= IDLE
    return marked and is_draining(pod.object) and _is_done(pod, observed, timeout)


def _is_done(pod: Pod, observed: Observed, timeout: timedelta) -> bool:
    """A pod that has just left the endpoints may yet get what was on its way to it."""
    since = past(annotation(pod.object, names.ANNOTATION_DRAINING), observed.now)
    if since is None:
        return False
    drained = observed.now - since
    return drained >= timeout or (drained >= IDLE and _is_idle(pod, observed.load))


def _is_idle(pod: Pod, load: Load) -> bool:
    """Only where everyone who may know has said so."""
    told = load.complete or load.overdue
    return told and pod.report is not None and in_flight(pod, load) == 0


def _onwards(pod: Pod, observed: Observed, timeout: timedelta) -> Patch | None:
    """The next mark of a ready pod that is to go; None while it is waited for."""
    if past(annotation(pod.object, names.ANNOTATION_DRAINING), observed.now) is None:
        since = {names.ANNOTATION_DRAINING: _text(observed.now)}
        return _patch(pod.object, {names.LABEL_ROUTE: None}, since)
    marked = past(annotation(pod.object, ANNOTATION_IDLE), observed.now) is not None
    if marked == _is_done(pod, observed, timeout):
        return None
    if marked:  # a request came after all
        return _patch(pod.object, {}, {ANNOTATION_IDLE: None, ANNOTATION_COST: None})
    done = {ANNOTATION_IDLE: _text(observed.now), ANNOTATION_COST: LOWEST_COST}
    return _patch(pod.object, {}, done)


def reopened(observed: Observed) -> tuple[Patch, ...]:
    """What takes every ready pod that drains back: for whoever is not to lower any size."""
    pods = (pod.object for pod in observed.engines)
    return tuple(_undrained(pod) for pod in pods if is_ready(pod) and is_draining(pod))


def _undrained(pod: Object) -> Patch:
    marks = (names.ANNOTATION_DRAINING, ANNOTATION_IDLE, ANNOTATION_COST)
    gone = {name: None for name in marks if annotation(pod, name) is not None}
    return _patch(pod, {names.LABEL_ROUTE: names.ROUTE_OPEN}, gone)


def _patch(pod: Object, labels: dict[str, Any], annotations: dict[str, Any]) -> Patch:
    metadata = {"annotations": annotations} | ({"labels": labels} if labels else {})
    return Patch(
        api_version="v1",
        kind="Pod",
        name=pod["metadata"]["name"],
        uid=pod["metadata"]["uid"],
        changes={"metadata": metadata},
    )


def past(text: str | None, now: datetime) -> datetime | None:
    """A time that was marked; none from before a clock was put back, which would stand still."""
    since = moment(text)
    return None if since is None or since > now else since


def _text(now: datetime) -> str:
    """With milliseconds: differences of a second are measured by it."""
    return now.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
