from datetime import timedelta
from typing import Any

import builders
import pooled

from berth_api import names
from berth_api.server import Phase, PodStatus
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.observed import Children, Pod
from berth_operator.core.pools import cards, files
from berth_operator.core.pools.files import Files
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.resolved import resolve

CR = pooled.model_cr(source="hf://org/model")
HASH = "0a1b2c3d"
PLAN = pooled.plan_of(CR, files=HASH)


def found(*jobs: dict[str, Any], pods: tuple[Pod, ...] = (), plan: PooledRevision = PLAN) -> Files:
    pool = pooled.observed().pool
    offer = cards.offer(pool, builders.configured(), ())
    assert isinstance(offer, Offer)
    observed = builders.observed(CR, children=Children(jobs=jobs), pods=pods)
    settings = builders.configured()
    return files.find(observed, resolve(CR), plan, settings=settings, pool=pool, offer=offer)


def job(attempt: int, condition: str | None = None, *, minutes_ago: float = 0.0) -> dict[str, Any]:
    ended = timestamp(builders.NOW - timedelta(minutes=minutes_ago))
    told = [{"type": condition, "status": "True", "lastTransitionTime": ended}] if condition else []
    return {
        "metadata": {"name": f"{names.fetch_job('a', HASH)}-{attempt}", "uid": f"job-{attempt}"},
        "status": {"conditions": told},
    }


def number(wanted: Files) -> int:
    assert wanted.job is not None
    return int(wanted.job["metadata"]["name"].rpartition("-")[2])


def test_files_of_the_pools_own_claim_are_there() -> None:
    assert found(plan=pooled.plan_of(pooled.model_cr())) == Files("There")


def test_what_is_not_there_is_fetched_by_a_job() -> None:
    wanted = found()
    assert (wanted.state, number(wanted)) == ("Fetching", 1)


def test_while_it_is_fetched_its_pod_tells_how_far_it_is() -> None:
    report = PodStatus(phase=Phase.FETCHING, percent=40)
    owner = {"ownerReferences": [{"uid": "job-1"}]}
    fetching = Pod({"metadata": {"name": "x", "uid": "x", **owner}, "status": {}}, report)
    wanted = found(job(1), pods=(fetching,))
    assert (wanted.state, wanted.report) == ("Fetching", report)


def test_a_job_that_is_complete_stays_as_the_memory_of_it() -> None:
    wanted = found(job(1, "Complete", minutes_ago=10_000))
    assert (wanted.state, number(wanted)) == ("There", 1)
    assert files.are_there((job(1, "Complete"),), resolve(CR), PLAN)


def test_one_that_failed_is_tried_again_after_a_pause_and_says_why() -> None:
    wanted = found(job(1, "Failed"))
    assert (wanted.state, number(wanted)) == ("Failed", 1)
    assert wanted.retry_seconds is not None
    assert wanted.retry_seconds > 0
    assert wanted.problem is not None
    assert wanted.problem.failure.fix
    again = found(job(1, "Failed", minutes_ago=60))
    assert (again.state, number(again)) == ("Fetching", 2)


def test_of_several_tries_the_last_counts() -> None:
    jobs = (job(1, "Failed", minutes_ago=60), job(10, "Complete"), job(2, "Failed"))
    assert found(*jobs).state == "There"
    assert not files.are_there((job(1, "Complete"), job(2)), resolve(CR), PLAN)


def test_a_job_of_other_files_tells_nothing_of_these() -> None:
    other = job(1, "Complete")
    other["metadata"]["name"] = f"{names.fetch_job('a', 'ffffffff')}-1"
    assert found(other).state == "Fetching"
