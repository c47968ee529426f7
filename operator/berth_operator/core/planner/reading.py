"""What is known of a model's shape, and the Job that finds it out where the credentials are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from berth_api.shape import Failure, FetchError, ShapeReport
from berth_api.status import Plan
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import condition, finished_at, terminated_message
from berth_operator.core.objects import shape_job
from berth_operator.core.observed import Object, Observed, Pod
from berth_operator.core.planner.image_volumes import image_volumes
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision
from berth_operator.settings import Settings

# The shape is read again after this, doubled with each attempt, up to the limit.
_FIRST_RETRY_SECONDS: Final = 5
_MAX_RETRY_SECONDS: Final = 300

_CONTAINER: Final = "shape"
_NOT_IN_TIME: Final = Failure(
    reason=FetchError.UNREACHABLE.value,
    message=f"the model's shape was not read within {shape_job.DEADLINE_SECONDS} s",
    fix="see whether the Job's pod finds a node, its image and the source; Berth tries again",
)


@dataclass(frozen=True)
class Reading:
    """The shape Job is wanted, or running."""

    job: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """There is no plan to run, and here is why. `retry_seconds` when the shape is read again."""

    failure: Failure
    retry_seconds: float | None = None
    plan: Plan | None = None  # what was calculated, with `fits` false


def shape_report(
    observed: Observed,
    resolved: Resolved,
    stored: list[Revision],
    offer: Offer,
    settings: Settings,
) -> ShapeReport | Reading | Refused:
    """What is known of the model: provided, from a revision of the same source, or the Job's."""
    if provided := observed.shapes.get(resolved.spec.model.source):
        return provided
    same = [one for one in stored if one.source == resolved.spec.model.source]
    if same:
        return max(same, key=lambda one: one.number).shape
    attempt, job = latest_attempt(observed.children.jobs, shape_job.prefix(resolved))

    def reading(number: int) -> Reading:
        volumes = image_volumes(settings, observed.nodes)
        return Reading(
            shape_job.build(resolved, settings, offer.profile, number, image_volumes=volumes)
        )

    pod = pod_of(observed, job) if job else None
    if job is None or (ended := ended_at(job, pod, [_CONTAINER])) is None:
        return reading(attempt)
    report = _report_of(job, pod)
    if report.failure is None:
        return report
    left = seconds_left(ended, attempt, observed.now)
    return Refused(report.failure, retry_seconds=left) if left > 0 else reading(attempt + 1)


def _retry_delay(attempt: int) -> timedelta:
    return timedelta(seconds=min(_FIRST_RETRY_SECONDS * 2 ** (attempt - 1), _MAX_RETRY_SECONDS))


def seconds_left(ended: datetime, attempt: int, now: datetime) -> float:
    """Until what ended without an answer is tried again."""
    return (ended + _retry_delay(attempt) - now).total_seconds()


def latest_attempt(jobs: Iterable[Object], prefix: str) -> tuple[int, Object | None]:
    """Its number and its Job, of those whose names begin with `prefix`."""
    attempts = {
        int(job["metadata"]["name"].removeprefix(prefix)): job
        for job in jobs
        if job["metadata"]["name"].startswith(prefix)
    }
    latest = max(attempts, default=1)
    return latest, attempts.get(latest)


def pod_of(observed: Observed, job: Object) -> Pod | None:
    return next(iter(pods_of(observed, job)), None)


def pods_of(observed: Observed, job: Object) -> tuple[Pod, ...]:
    uid = job["metadata"]["uid"]
    return tuple(
        pod
        for pod in observed.pods
        if any(o["uid"] == uid for o in pod.object["metadata"].get("ownerReferences", []))
    )


def ended_at(job: Object, pod: Pod | None, containers: Sequence[str]) -> datetime | None:
    """When the last of the attempt's containers ended; None while one runs."""
    if pod is not None:
        ends = [finished_at(pod.object, name) for name in containers]
        known = [one for one in ends if one is not None]
        if len(known) == len(ends):
            return max(known)
    failed = condition(job, "Failed")
    if failed.get("status") == "True":
        return datetime.fromisoformat(failed["lastTransitionTime"])
    complete = condition(job, "Complete")
    # The end of the pod may be on another watch, and still on its way.
    if pod is None and complete.get("status") == "True":
        return datetime.fromisoformat(complete["lastTransitionTime"])
    return None


def late(job: Object) -> Failure | None:
    exceeded = condition(job, "Failed").get("reason") == "DeadlineExceeded"
    return _NOT_IN_TIME if exceeded else None


def _report_of(job: Object, pod: Pod | None) -> ShapeReport:
    if failure := late(job):
        return ShapeReport(failure=failure)
    message = terminated_message(pod.object, _CONTAINER) if pod else None
    try:
        return ShapeReport.model_validate_json(message or "")
    except ValidationError:
        return ShapeReport(
            failure=Failure(
                reason=FetchError.CONFIG_UNREADABLE.value,
                message=f"the shape Job ended without an answer: {(message or 'no message')[:500]}",
                fix="read the Job's log; Berth tries again by itself",
            )
        )
