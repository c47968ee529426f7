"""Whether a model's files are in its pool's cache, as far as its fetch Job tells."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from berth_api.server import PodStatus
from berth_api.shape import Failure
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import condition, moment
from berth_operator.core.objects import fetch_job
from berth_operator.core.observed import Object, Observed
from berth_operator.core.planner import reading
from berth_operator.core.pools.pool import ResolvedPool
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.problems import Problem, of_pods
from berth_operator.core.resolved import Resolved
from berth_operator.settings import Settings

_NO_REASON: Final = Failure(
    reason="SourceUnreachable",
    message="the files were not fetched, and the Job's pod does not say why",
    fix="read the Job's log; Berth tries again by itself",
)


@dataclass(frozen=True)
class Files:
    state: Literal["There", "Fetching", "Failed"]
    job: dict[str, Any] | None = None  # that is wanted now
    problem: Problem | None = None
    report: PodStatus | None = None  # of the pod that fetches
    retry_seconds: float | None = None


def find(
    observed: Observed,
    resolved: Resolved,
    revision: PooledRevision,
    *,
    settings: Settings,
    pool: ResolvedPool,
    offer: Offer,
) -> Files:
    if not revision.files:
        return Files("There")
    attempt, job = _latest(observed.children.jobs, resolved, revision.files)

    def wanted(number: int) -> dict[str, Any]:
        profile = offer.profile
        return fetch_job.build(resolved, pool, settings, profile, revision.shape, attempt=number)

    if job is None:
        return Files("Fetching", job=wanted(attempt))
    if condition(job, "Complete").get("status") == "True":
        return Files("There", job=wanted(attempt))
    pods = reading.pods_of(observed, job)
    failed = condition(job, "Failed")
    if failed.get("status") != "True":
        report = next((pod.report for pod in pods if pod.report), None)
        return Files("Fetching", job=wanted(attempt), report=report, problem=of_pods(pods))
    ended = moment(failed.get("lastTransitionTime")) or observed.now
    left = reading.seconds_left(ended, attempt, observed.now)
    if left <= 0:
        return Files("Fetching", job=wanted(attempt + 1))
    problem = of_pods(pods) or Problem("ModelCached", _NO_REASON)
    return Files("Failed", job=wanted(attempt), problem=problem, retry_seconds=left)


def are_there(jobs: tuple[Object, ...], resolved: Resolved, revision: PooledRevision) -> bool:
    if not revision.files:
        return True
    _, job = _latest(jobs, resolved, revision.files)
    return job is not None and condition(job, "Complete").get("status") == "True"


def _latest(jobs: tuple[Object, ...], resolved: Resolved, files: str) -> tuple[int, Object | None]:
    return reading.latest_attempt(jobs, fetch_job.prefix(resolved, files))
