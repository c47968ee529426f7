"""An update that failed in the place of what served before it: given up, and remembered as such.

The memory is an annotation on the update's Deployment, which stays, without replicas. So it
survives a restart, names its reason, and goes with the Deployment: another spec replaces it, and
whoever wants the same one tried again deletes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from berth_api import names
from berth_api.shape import Failure
from berth_api.status import ConditionType
from berth_operator.core import problems
from berth_operator.core.kubernetes import annotation
from berth_operator.core.observed import Object, Pod
from berth_operator.core.problems import Problem

ANNOTATION_BLOCKED: Final = f"{names.GROUP}/blocked"

# An engine that ended once may have met a hiccup; the kubelet starts it again within seconds.
_FAILURES: Final = 2
# What does not pass by trying again.
_PERMANENT: Final = frozenset(
    {
        "AuthFailed",
        "ConfigUnreadable",
        "GatedModel",
        "ImagePullFailed",
        "LoadTimeout",
        "NoSafetensors",
        "NotFound",
        "TensorParallelInvalid",
        "UnsupportedArchitecture",
    }
)


@dataclass(frozen=True)
class Blocked:
    """A revision that is not tried again, and why."""

    revision: str
    problem: Problem

    @property
    def message(self) -> str:
        failure = self.problem.failure
        fix = f" Fix: {failure.fix}." if failure.fix else ""
        return f"revision {self.revision} failed and was given up: {failure.message}.{fix}"


def failed(pods: Iterable[Pod]) -> Problem | None:
    """Why a revision is given up; None while it is waited for, or may yet start.

    A pod without a node has not failed: that is the roll-out's to judge.
    """
    newest_first = sorted(
        pods, key=lambda pod: pod.object["metadata"].get("creationTimestamp", ""), reverse=True
    )
    found = [
        problem
        for pod in newest_first
        if (problem := problems.of_pod(pod)) is not None
        and problem.condition != ConditionType.SCHEDULED.value
    ]
    permanent = next((one for one in found if one.failure.reason in _PERMANENT), None)
    if permanent is not None:
        return permanent
    return found[0] if sum(one.count for one in found) >= _FAILURES else None


def encoded(problem: Problem) -> str:
    return _PROBLEM.dump_json(problem, exclude_none=True).decode()


def read(deployment: Object | None, revision: str) -> Blocked | None:
    """What is written on a revision's Deployment; what cannot be read blocks all the same."""
    text = None if deployment is None else annotation(deployment, ANNOTATION_BLOCKED)
    if text is None:
        return None
    try:
        return Blocked(revision, _PROBLEM.validate_json(text))
    except ValidationError:
        failure = Failure(reason="CrashLoop", message=text[:_TEXT_CHARS])
        return Blocked(revision, Problem(ConditionType.RUNTIME_HEALTHY.value, failure))


_PROBLEM: Final = TypeAdapter(Problem)
_TEXT_CHARS: Final = 200  # of an annotation that someone wrote by hand
