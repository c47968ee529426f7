"""From a spec to a revision: reuse a stored one, or read the model's shape and make a plan.

`auto` is resolved here, once: a spec that has been planned before keeps its plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from berth_api import engine_flags
from berth_api.shape import Failure, FetchError, ShapeReport
from berth_operator.core import fit, offers, revision, shape
from berth_operator.core.context import Context
from berth_operator.core.kubernetes import condition, finished_at, terminated_message
from berth_operator.core.objects import pod_template, shape_job
from berth_operator.core.observed import Node, Object, Observed, Pod
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision
from berth_operator.settings import ImageVolumes, Settings

# The shape is read again after this, doubled with each attempt, up to the limit.
_FIRST_RETRY_SECONDS: Final = 5
_MAX_RETRY_SECONDS: Final = 300
# Image volumes: on by default since Kubernetes 1.35; mounted by these runtimes.
_IMAGE_VOLUME_KUBELET: Final = (1, 35)
_IMAGE_VOLUME_RUNTIMES: Final = {"containerd": (2, 1), "cri-o": (1, 33)}


_NOT_IN_TIME: Final = Failure(
    reason=FetchError.UNREACHABLE.value,
    message=f"the model's shape was not read within {shape_job.DEADLINE_SECONDS} s",
    fix="see whether the Job's pod finds a node, its image and the source; Berth tries again",
)


@dataclass(frozen=True)
class Planned:
    revision: Revision


@dataclass(frozen=True)
class Reading:
    """The shape Job is wanted, or running."""

    job: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """There is no plan, and here is why. `retry_seconds` when the shape will be read again."""

    failure: Failure
    retry_seconds: float | None = None


Planning = Planned | Reading | Refused


def plan(observed: Observed, resolved: Resolved, context: Context) -> Planning:
    stored = [revision.from_object(one) for one in observed.children.revisions]
    known = [one for one in stored if one.spec_hash == resolved.spec_hash]
    if known:
        return Planned(max(known, key=lambda one: one.number))
    return _plan_anew(observed, resolved, context, stored)


def _plan_anew(
    observed: Observed, resolved: Resolved, context: Context, stored: list[Revision]
) -> Planning:
    flags = engine_flags.refused(resolved.spec.runtime.extra_args)
    if flags:
        return Refused(_managed_flags(flags))
    offered = offers.offers(context.settings, observed.nodes, resolved.spec)
    if isinstance(offered, offers.NoOffer):
        return Refused(Failure(reason="InsufficientGPU", message=offered.message, fix=offered.fix))
    report = _shape_report(observed, resolved, stored, offered[0], context.settings)
    if not isinstance(report, ShapeReport):
        return report
    number = max((one.number for one in stored), default=0) + 1
    return _fit(observed, resolved, context, offered, report=report, number=number)


def _fit(
    observed: Observed,
    resolved: Resolved,
    context: Context,
    offered: tuple[fit.Offer, ...],
    *,
    report: ShapeReport,
    number: int,
) -> Planned | Refused:
    model = shape.read(report)
    if isinstance(model, Failure):
        return Refused(model)
    verdict = fit.choose(model, offered, resolved.spec)
    if not isinstance(verdict, fit.Fits):
        return Refused(_why_not(verdict))
    offer = next(o for o in offered if o.profile.name == verdict.plan.accelerator)
    given = pod_template.Build(
        resolved=resolved,
        settings=context.settings,
        engine=offer.engine,
        accelerator=offer.profile,
        plan=verdict.plan,
        shape=report,
        revision=revision.name_of(resolved, verdict.plan),
        image_volumes=image_volumes(context.settings, observed.nodes),
    )
    return Planned(revision.make(resolved, verdict.plan, report, pod_template.build(given), number))


def _managed_flags(flags: Sequence[tuple[str, str]]) -> Failure:
    named = ", ".join(flag for flag, _ in flags)
    return Failure(
        reason="InvalidSpec",
        message=f"spec.runtime.extraArgs: {named} is managed by Berth",
        fix="; ".join(dict.fromkeys(fix for _, fix in flags)),
    )


def _why_not(verdict: fit.DoesNotFit | fit.Illegal) -> Failure:
    if isinstance(verdict, fit.DoesNotFit):
        return Failure(
            reason="DoesNotFit", message=verdict.message, fix=", or ".join(verdict.fixes)
        )
    return Failure(
        reason=verdict.reason, message=f"{verdict.field}: {verdict.message}", fix=verdict.fix
    )


def _shape_report(
    observed: Observed,
    resolved: Resolved,
    stored: list[Revision],
    offer: fit.Offer,
    settings: Settings,
) -> ShapeReport | Reading | Refused:
    """What is known of the model: provided, from a revision of the same source, or the Job's."""
    if provided := observed.shapes.get(resolved.spec.model.source):
        return provided
    same = [one for one in stored if one.source == resolved.spec.model.source]
    if same:
        return max(same, key=lambda one: one.number).shape
    attempt, job = _latest_attempt(observed, resolved)

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


def _latest_attempt(observed: Observed, resolved: Resolved) -> tuple[int, Object | None]:
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


def image_volumes(settings: Settings, nodes: tuple[Node, ...]) -> bool:
    """Whether every node mounts OCI images as volumes."""
    if settings.image_volumes is not ImageVolumes.AUTO:
        return settings.image_volumes is ImageVolumes.ALWAYS
    return bool(nodes) and all(_mounts_images(node) for node in nodes)


def _mounts_images(node: Node) -> bool:
    runtime, _, version = node.runtime_version.partition("://")
    least = _IMAGE_VOLUME_RUNTIMES.get(runtime)
    return (
        least is not None
        and _version(version) >= least
        and _version(node.kubelet_version) >= _IMAGE_VOLUME_KUBELET
    )


def _version(text: str) -> tuple[int, int]:
    parts = text.lstrip("v").split(".")
    numbers = [int(part) for part in parts[:2] if part.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == len(parts[:2]) == 2 else (0, 0)  # noqa: PLR2004


def superseded_jobs(observed: Observed, resolved: Resolved, planning: Planning) -> list[Object]:
    """Jobs whose answer is no longer wanted: all once planned, else all but the latest attempt."""
    if isinstance(planning, Planned):
        return list(observed.children.jobs)
    if isinstance(planning, Reading):
        keep = planning.job["metadata"]["name"]
    else:
        attempt, _ = _latest_attempt(observed, resolved)
        keep = f"{shape_job.prefix(resolved)}{attempt}"
    return [job for job in observed.children.jobs if job["metadata"]["name"] != keep]
