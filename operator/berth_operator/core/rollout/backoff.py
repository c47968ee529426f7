"""A revision whose pods fail alike again and again gets pauses, each longer than the last.

An engine that cannot start holds its card for every try, and a broken device plugin has a
ReplicaSet make pods as fast as a kubelet can refuse them. In a pause a revision has no more pods
than serve: none, if it has never served, while the one before it goes on. The memory is an
annotation on the revision's Deployment, so another spec is tried at once, and so is this one for
whoever deletes the Deployment.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from berth_api import names
from berth_api.status import ConditionType
from berth_operator.core import problems
from berth_operator.core.kubernetes import (
    annotation,
    container_statuses,
    is_finished,
    is_ready,
    is_terminating,
    moment,
    timestamp,
)
from berth_operator.core.observed import Object, Observed, Pod
from berth_operator.core.pauses import Pauses
from berth_operator.core.problems import Problem

ANNOTATION_BACKOFF: Final = f"{names.GROUP}/backs-off"

FAILURES: Final = 5  # of one kind: the kubelet's own pauses between them are minutes by then
# Pods that ended for good are kept. Older ones tell nothing of a loop that is there now.
WINDOW: Final = timedelta(minutes=10)


# A start that fails costs minutes of a card, and only another plan would mend it.
_OF_ENGINES: Final = Pauses(timedelta(minutes=10), timedelta(minutes=60))
# A device plugin that restarts is back within seconds, and a pod that is refused costs no card.
_OF_NODES: Final = Pauses(timedelta(seconds=30), timedelta(minutes=10))


@dataclass(frozen=True)
class Pause:
    problem: Problem
    tries: Annotated[int, Field(ge=1)]  # pauses so far, with this one
    until: str  # RFC 3339

    def lasts(self, now: datetime) -> bool:
        return self.seconds_left(now) > 0

    def seconds_left(self, now: datetime) -> float:
        """None is left where a clock was put back: no pause is longer than the longest."""
        end = moment(self.until)
        left = timedelta(0) if end is None else end - now
        return left.total_seconds() if left <= _OF_ENGINES.longest else 0.0

    @property
    def message(self) -> str:
        return f"{self.problem.failure.message}; it is tried again at {self.until}"


def judged(
    stored: Pause | None, pods: Iterable[Pod], now: datetime, *, proven: bool, whole: bool
) -> Pause | None:
    """The pause that lasts, begins, or was the last; None where none is remembered.

    `proven`: the revision has served, so that its plan is not what fails. `whole`: all its pods
    serve.
    """
    if stored is not None and stored.lasts(now):
        return stored
    pods = tuple(pods)
    problem = _loop(pods, _since(stored, pods, now), proven=proven)
    if problem is None:
        return None if whole else stored
    tries = 1 + (stored.tries if stored is not None else 0)
    pauses = _OF_NODES if problem.exit_code is None else _OF_ENGINES
    return Pause(problem, tries, timestamp(now + pauses.of(tries)))


def marks(pause: Pause | None) -> dict[str, str]:
    """The annotations of the revision's Deployment."""
    if pause is None:
        return {}
    return {ANNOTATION_BACKOFF: _PAUSE.dump_json(pause, exclude_none=True).decode()}


def read(marks: Mapping[str, str]) -> Pause | None:
    """What cannot be read is none: the loop, if there is one, is found again."""
    try:
        return _PAUSE.validate_json(marks.get(ANNOTATION_BACKOFF, ""))
    except ValidationError:
        return None


def pauses(observed: Observed) -> bool:
    """Whether a Deployment of the model has fewer replicas than are wanted, for this reason."""
    found = (_of(deployment) for deployment in observed.children.deployments)
    return any(one is not None and one.lasts(observed.now) for one in found)


def _of(deployment: Object) -> Pause | None:
    return read({ANNOTATION_BACKOFF: annotation(deployment, ANNOTATION_BACKOFF) or ""})


_PAUSE: Final = TypeAdapter(Pause)


def _since(stored: Pause | None, pods: Iterable[Pod], now: datetime) -> datetime:
    """Pods made before the last pause ended, or before one that serves, are no loop of now."""
    ready = (moment(_created(pod)) for pod in pods if is_ready(pod.object))
    ended = None if stored is None else moment(stored.until)
    return max(one for one in (now - WINDOW, ended, *ready) if one is not None)


def _loop(pods: Iterable[Pod], since: datetime, *, proven: bool) -> Problem | None:
    """What has failed so often, in the newest pod's words."""
    failures: Counter[str] = Counter()
    for pod in sorted(pods, key=_created, reverse=True):
        problem = None if is_terminating(pod.object) else problems.of_pod(pod)
        if problem is None:
            continue
        reason = problem.failure.reason
        if is_finished(pod.object):
            failures[reason] += _never_ran(pod, since)
        elif problem.condition == _ENGINE and problem.exit_code is not None and not proven:
            # Of one pod: where many meet the same hiccup once, none of them is in a loop.
            failures[reason] = max(failures[reason], problem.count)
        if failures[reason] >= FAILURES:
            return problem
    return None


_ENGINE: Final = ConditionType.RUNTIME_HEALTHY.value


def _never_ran(pod: Pod, since: datetime) -> bool:
    """One of the present loop that its kubelet refused; what ran before it ended took its time."""
    made = moment(_created(pod))
    return made is not None and made >= since and not any(container_statuses(pod.object))


def _created(pod: Pod) -> str:
    created: str = pod.object["metadata"].get("creationTimestamp", "")
    return created
