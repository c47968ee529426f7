"""The revisions of one model as they run: each a Deployment with its pods and its marks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from berth_api import names
from berth_api.spec import RolloutStrategy
from berth_operator.core import node_health, problems
from berth_operator.core.kubernetes import (
    annotation,
    condition,
    is_active,
    is_finished,
    is_ready,
    is_serving,
    moment,
    unschedulable_since,
)
from berth_operator.core.observed import Object, Observed, Pod, revision_of
from berth_operator.core.problems import Problem
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision, readable
from berth_operator.core.rollout import backoff, blocked, draining

# On the update's Deployment, once it was given an old pod's place: since when that place is free
# and the update's pod has not got it, or TAKING.
ANNOTATION_PLACE: Final = f"{names.GROUP}/takes-place"
TAKING: Final = "Taking"

# A pod that has not gone so long after its own deadline is on a lost node: its place is nobody's.
_LOST: Final = timedelta(seconds=60)
# The scheduler's and the quota's words for what another pod's going would mend.
_LACKS: Final = ("Insufficient", "exceeded quota")


@dataclass(frozen=True)
class Look:
    """What every rule of one step needs."""

    observed: Observed
    resolved: Resolved
    wanted: int
    patience: timedelta

    @property
    def current(self) -> str | None:
        """The revision that served last, as it was told."""
        told: str | None = self.observed.cr.get("status", {}).get("currentRevision")
        return told

    @property
    def recreates(self) -> bool:
        return self.resolved.spec.rollout.strategy is RolloutStrategy.RECREATE


@dataclass(frozen=True)
class Group:
    """A revision's Deployment and pods. Without a revision it cannot be read, only drained."""

    name: str
    revision: Revision | None = None
    deployment: Object | None = None
    pods: tuple[Pod, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        asked: int = 0 if self.deployment is None else self.deployment["spec"].get("replicas", 1)
        return asked

    @property
    def active(self) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if is_active(pod.object))

    @property
    def placed(self) -> int:
        return sum(bool(pod.object["spec"].get("nodeName")) for pod in self.active)

    @property
    def serving(self) -> int:
        return sum(is_serving(pod.object) for pod in self.pods)

    @property
    def may_serve(self) -> bool:
        """Whether a pod serves, or would at once if it were not drained."""
        return any(
            is_serving(pod.object) or (is_ready(pod.object) and draining.is_draining(pod.object))
            for pod in self.active
        )

    @property
    def starting(self) -> tuple[Pod, ...]:
        """Pods that have a place and are not ready."""
        return tuple(
            pod
            for pod in self.active
            if pod.object["spec"].get("nodeName") and not is_ready(pod.object)
        )

    @property
    def waits(self) -> tuple["Wait", ...]:
        """For places: of pods that no node has room for, and of those that a quota forbids."""
        unplaced = ((unschedulable_since(pod.object), problems.of_pod(pod)) for pod in self.active)
        unmade = (
            (_unmade_since(one), problems.of_deployment(one)) for one in (self.deployment,) if one
        )
        return tuple(
            Wait(since, problem)
            for since, problem in (*unplaced, *unmade)
            if since is not None and problem is not None
        )


@dataclass(frozen=True)
class Wait:
    since: datetime
    problem: Problem

    @property
    def is_lack(self) -> bool:
        """Whether another pod's going would mend it."""
        return any(word in self.problem.failure.message for word in _LACKS)


def _unmade_since(deployment: Object) -> datetime | None:
    return moment(condition(deployment, "ReplicaFailure").get("lastTransitionTime"))


def read(observed: Observed) -> dict[str, Group]:
    """The Deployments that exist, by revision, oldest first."""
    stored = {one.name: one for one in readable(observed.children.revisions)}
    found = [
        _group(observed, one, stored.get(one["metadata"]["labels"][names.LABEL_REVISION]))
        for one in observed.children.deployments
    ]
    found.sort(key=lambda one: one.revision.number if one.revision is not None else 0)
    return {one.name: one for one in found}


def _group(observed: Observed, deployment: Object, revision: Revision | None) -> Group:
    name = deployment["metadata"]["labels"][names.LABEL_REVISION]
    ours = (ANNOTATION_PLACE, blocked.ANNOTATION_BLOCKED, backoff.ANNOTATION_BACKOFF)
    found = {mark: annotation(deployment, mark) for mark in ours}
    return Group(
        name=name,
        revision=revision,
        deployment=deployment,
        pods=observed.pods_of(name),
        marks={mark: text for mark, text in found.items() if text is not None},
    )


def main_first(look: Look, groups: Iterable[Group]) -> list[Group]:
    """The one that clients meet first, as it was told last; then those that serve, the newest."""

    def rank(one: Group) -> tuple[bool, bool, bool, int, int, int]:
        given_up = blocked.ANNOTATION_BLOCKED in one.marks
        current = one.name == look.current
        serves = bool(one.serving or (current and one.asked))
        number = one.revision.number if one.revision is not None else 0
        return not given_up, serves, current, one.serving, len(one.active), number

    return sorted(groups, key=rank, reverse=True)


def places_leaving(look: Look, goal: Group, others: list[Group]) -> int:
    """Pods of other revisions that end, or whose Deployment has gone, and still have places."""
    stay = {id(pod) for one in others for pod in one.active}
    return sum(
        bool(pod.object["spec"].get("nodeName"))
        and not is_finished(pod.object)
        and not _is_lost(look, pod.object)
        for pod in look.observed.engines
        if revision_of(pod) != goal.name and id(pod) not in stay
    )


def _is_lost(look: Look, pod: Object) -> bool:
    """The timestamp of a deletion is when it should be over."""
    deadline = moment(pod["metadata"].get("deletionTimestamp"))
    late = deadline is not None and look.observed.now - deadline > _LOST
    return late or node_health.is_lost(look.observed, pod)


def only(marks: Mapping[str, str], *wanted: str) -> dict[str, str]:
    return {mark: text for mark, text in marks.items() if mark in wanted}
