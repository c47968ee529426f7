"""What is known of a spec's LoRA adapters, the Job that finds it out, and which are refused."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from berth_api.adapters import AdapterReport, AdaptersReport
from berth_api.shape import Failure, FetchError
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import terminated_message
from berth_operator.core.model import adapters
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.objects import adapter_job
from berth_operator.core.observed import Observed
from berth_operator.core.planner import reading
from berth_operator.core.planner.reading import Reading, Refused
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision
from berth_operator.settings import Settings

Reports = Mapping[str, AdapterReport]
"""By the adapter's name."""

UNSUPPORTED: Final = "AdapterUnsupported"


def reports(
    observed: Observed,
    resolved: Resolved,
    stored: Sequence[Revision],
    offer: Offer,
    settings: Settings,
) -> Reports | Reading | Refused:
    """Of each of spec.adapters: provided, from a revision that had its source, or the Job's."""
    asked = {one.name: one.source for one in resolved.spec.adapters}
    if named := misnamed(resolved):
        return Refused(named)
    known = _known(observed, stored)
    missing = sorted({source for source in asked.values() if source not in known})
    if missing:
        found = _read(observed, resolved, missing, offer, settings)
        if not isinstance(found, dict):
            return found
        known |= found
    return {name: known[source] for name, source in asked.items()}


def misnamed(resolved: Resolved) -> Failure | None:
    """A name that the engine could not tell from its model's, or from another adapter's."""
    names = [one.name for one in resolved.spec.adapters]
    if resolved.name in names:
        what = f"{resolved.name} is the model's own name"
    elif len(set(names)) < len(names):
        what = "two have one name"
    else:
        return None
    return Failure(
        reason="InvalidSpec", message=f"spec.adapters: {what}", fix="give the adapter another name"
    )


def refusal(found: Reports, shape: ModelShape) -> Failure | None:
    """Why the first that cannot be served cannot be."""
    for name, report in found.items():
        why = adapters.refused(report, shape)
        if why is not None:
            return Failure(
                reason=UNSUPPORTED,
                message=f"spec.adapters: {name} ({report.source}) {why}",
                fix="leave it out, or name an adapter that was trained as a plain LoRA of "
                f"{shape.architecture} with these sizes",
            )
    return None


def wanted_job(observed: Observed, resolved: Resolved, stored: Sequence[Revision]) -> str | None:
    """The name of the latest attempt's Job; None if there is nothing to read."""
    known = _known(observed, stored)
    missing = sorted({one.source for one in resolved.spec.adapters if one.source not in known})
    if not missing:
        return None
    prefix = adapter_job.prefix(resolved, missing)
    return f"{prefix}{reading.latest_attempt(observed.children.jobs, prefix)[0]}"


def _known(observed: Observed, stored: Sequence[Revision]) -> dict[str, AdapterReport]:
    """By source; the newest revision's where several had it."""
    by_age = sorted(stored, key=lambda one: one.number)
    kept = {one.source: one for revision in by_age for one in revision.adapters.values()}
    return kept | dict(observed.adapters)


def _read(
    observed: Observed,
    resolved: Resolved,
    sources: Sequence[str],
    offer: Offer,
    settings: Settings,
) -> dict[str, AdapterReport] | Reading | Refused:
    prefix = adapter_job.prefix(resolved, sources)
    attempt, job = reading.latest_attempt(observed.children.jobs, prefix)

    def wanted(number: int) -> Reading:
        return Reading(adapter_job.build(resolved, settings, offer.profile, number, sources))

    if job is None:
        return wanted(attempt)
    pod = reading.pod_of(observed, job)
    shares = adapter_job.shares(sources)
    ended = reading.ended_at(job, pod, [name for name, _ in shares])
    if ended is None:
        return wanted(attempt)
    found: dict[str, AdapterReport] = {}
    for name, share in shares:
        message = terminated_message(pod.object, name) if pod else None
        told = _told(reading.late(job), message, share)
        if isinstance(told, Failure):
            left = reading.seconds_left(ended, attempt, observed.now)
            return Refused(told, retry_seconds=left) if left > 0 else wanted(attempt + 1)
        found |= told
    return found


def _told(
    late: Failure | None, message: str | None, sources: Sequence[str]
) -> dict[str, AdapterReport] | Failure:
    if late is not None:
        return late
    try:
        told = AdaptersReport.model_validate_json(message or "")
        if told.failure is not None:
            return told.failure
        return {one.source: one for one in told.reports(sources)}
    except (ValidationError, ValueError):
        return Failure(
            reason=FetchError.CONFIG_UNREADABLE.value,
            message=f"the adapters were not read: {(message or 'no message')[:500]}",
            fix="read the Job's log; Berth tries again by itself",
        )
