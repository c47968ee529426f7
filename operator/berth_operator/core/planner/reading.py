"""What is known of a model's shape, and the Job that finds it out where the credentials are."""

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
    attempt, job = latest_attempt(observed, resolved)

    def reading(number: int) -> Reading:
        volumes = image_volumes(settings, observed.nodes)
        return Reading(
            shape_job.build(resolved, settings, offer.profile, number, image_volumes=volumes)
        )

    pod = _pod_of(observed, job) if job else None
    if job is None or (ended := _ended_at(job, pod)) is None:
        return reading(attempt)
    report = _report_of(job, pod)
    if report.failure is None:
        return report
    left = (ended + retry_delay(attempt) - observed.now).total_seconds()
    return Refused(report.failure, retry_seconds=left) if left > 0 else reading(attempt + 1)


def retry_delay(attempt: int) -> timedelta:
    return timedelta(seconds=min(_FIRST_RETRY_SECONDS * 2 ** (attempt - 1), _MAX_RETRY_SECONDS))


def latest_attempt(observed: Observed, resolved: Resolved) -> tuple[int, Object | None]:
    prefix = shape_job.prefix(resolved)
    attempts = {
        int(job["metadata"]["name"].removeprefix(prefix)): job
        for job in observed.children.jobs
        if job["metadata"]["name"].startswith(prefix)
    }
    latest = max(attempts, default=1)
    return latest, attempts.get(latest)


def _pod_of(observed: Observed, job: Object) -> Pod | None:
    uid = job["metadata"]["uid"]
    owned = (
        pod
        for pod in observed.pods
        if any(o["uid"] == uid for o in pod.object["metadata"].get("ownerReferences", []))
    )
    return next(owned, None)


def _ended_at(job: Object, pod: Pod | None) -> datetime | None:
    """When the attempt ended; None while it runs."""
    if pod is not None and (ended := finished_at(pod.object, "shape")) is not None:
        return ended
    failed = condition(job, "Failed")
    if failed.get("status") == "True":
        return datetime.fromisoformat(failed["lastTransitionTime"])
    complete = condition(job, "Complete")
    # The end of the pod may be on another watch, and still on its way.
    if pod is None and complete.get("status") == "True":
        return datetime.fromisoformat(complete["lastTransitionTime"])
    return None


def _report_of(job: Object, pod: Pod | None) -> ShapeReport:
    if condition(job, "Failed").get("reason") == "DeadlineExceeded":
        return ShapeReport(failure=_NOT_IN_TIME)
    message = terminated_message(pod.object, "shape") if pod else None
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
