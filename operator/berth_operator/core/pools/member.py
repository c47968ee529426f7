"""One model of a pool: its plan and its files. Which engines the pods hold is the pool's look.

Pure, as `core.decide`, which calls it for every ModelDeployment with `spec.pool`. What the pool has
decided of its engine it reads in the pool's status, so that both looks may come in any order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from berth_api.pool import PoolEngine, PoolStatus
from berth_api.shape import Failure
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import absent, is_terminating
from berth_operator.core.objects import fetch_job
from berth_operator.core.observed import Object, Observed
from berth_operator.core.outcome import Attention, Deletion, Outcome
from berth_operator.core.planner import planning as dedicated
from berth_operator.core.planner.context import Context
from berth_operator.core.planner.reading import Reading, Refused
from berth_operator.core.pools import cards, files, member_status, planning, pool, revision
from berth_operator.core.pools.member_view import View
from berth_operator.core.pools.pool import ResolvedPool
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.resolved import Resolved

# Nodes come and go without waking a model; what was refused for want of them is judged again.
_REFUSED_SECONDS: Final = 10.0
_FETCHING_SECONDS: Final = 1.0
# Any number of held requests is news: the pool's look, not the model's, tells whether it is enough.
_ATTENTION: Final = Attention(capacity=0)


@dataclass(frozen=True)
class _Given:
    """The pool as this model sees it."""

    pool: ResolvedPool
    offer: Offer


def decide(observed: Observed, resolved: Resolved, context: Context) -> Outcome:
    given = _given(observed, resolved, context)
    if isinstance(given, Failure):
        view = _unplanned(observed, resolved, Refused(given))
        return _outcome(view, context, apply=[], retry=_REFUSED_SECONDS)
    planned = planning.plan(observed, resolved, context, given.pool, given.offer)
    if isinstance(planned, Reading):
        job = absent([planned.job], observed.children.jobs)
        view = _unplanned(observed, resolved, planned)
        return _outcome(view, context, apply=job, retry=None)
    if isinstance(planned, Refused):
        view = _unplanned(observed, resolved, planned)
        wait = planned.retry_seconds
        return _outcome(view, context, apply=[], retry=wait or _REFUSED_SECONDS)
    return _planned(observed, resolved, context, given, planned)


def _unplanned(observed: Observed, resolved: Resolved, planned: Reading | Refused) -> View:
    """What it had before goes on serving: the spec asks for something else that is not there."""
    return View(observed, resolved, planned, serving=answering(observed))


def _planned(
    observed: Observed,
    resolved: Resolved,
    context: Context,
    given: _Given,
    planned: PooledRevision,
) -> Outcome:
    found = files.find(
        observed,
        resolved,
        planned,
        settings=context.settings,
        pool=given.pool,
        offer=given.offer,
    )
    engines = _engines(observed)
    view = View(
        observed,
        resolved,
        planned,
        files=found,
        engine=engines.get(planned.id),
        serving=answering(observed, planned.id),
    )
    wanted = absent([revision.to_object(resolved, planned)], observed.children.revisions)
    wanted += absent([found.job] if found.job else [], observed.children.jobs)
    waits = found.retry_seconds or (_FETCHING_SECONDS if found.state == "Fetching" else None)
    return _outcome(view, context, apply=wanted, retry=waits)


def _given(observed: Observed, resolved: Resolved, context: Context) -> _Given | Failure:
    """Why there is no plan, where the pool is not there or can have no pods."""
    name = resolved.spec.pool
    if observed.pool is None or is_terminating(observed.pool):
        return Failure(
            reason="InvalidSpec",
            message=f"spec.pool {name}: there is no ModelPool of this name in namespace "
            f"{resolved.namespace}",
            fix="create it, or leave spec.pool out",
        )
    try:
        found = pool.resolve(observed.pool)
    except ValueError as error:
        return Failure(reason="InvalidSpec", message=f"ModelPool {name}: {error}", fix="mend it")
    offer = cards.offer(found, context.settings, observed.nodes)
    if isinstance(offer, Failure):
        return offer.model_copy(update={"message": f"ModelPool {name}: {offer.message}"})
    return _Given(found, offer)


def _engines(observed: Observed) -> Mapping[str, PoolEngine]:
    """As the pool tells of them; a pool that goes has taken the routes back."""
    if observed.pool is None or is_terminating(observed.pool):
        return {}
    status = PoolStatus.model_validate(observed.pool.get("status") or {})
    return {one.id: one for one in status.engines}


def answering(observed: Observed, *wanted: str) -> PoolEngine | None:
    """The engine that answers for the model now; of an update, it may be the one before."""
    engines, named = _engines(observed), pool.named_by(observed.cr)
    stored = revision.readable(observed.children.revisions)
    mine = (one.id for one in reversed(stored) if one.pool == named)
    found = (engines[id_] for id_ in (*wanted, *mine) if id_ in engines)
    return next((one for one in found if one.state == "Serving"), None)


def _outcome(
    view: View, context: Context, *, apply: list[dict[str, Any]], retry: float | None
) -> Outcome:
    told = member_status.of(view, context.settings)
    return Outcome(
        apply=tuple(apply),
        delete=tuple(_unwanted(view)),
        status=told.status,
        events=told.events,
        look_again_seconds=retry,
        attention=_ATTENTION,
    )


def _unwanted(view: View) -> list[Deletion]:
    """What served it alone before; plans that no engine is of any more; Jobs that have ended."""
    children = view.observed.children
    moved = view.files is not None and view.files.state == "There"
    gone = [*children.deployments, *children.services, *children.budgets] if moved else []
    revisions = [one for one in children.revisions if _is_over(view, one)]
    doomed = [*gone, *revisions, *_ended_jobs(view)]
    return [Deletion.of(one) for one in doomed if not is_terminating(one)]


def _is_over(view: View, stored: Object) -> bool:
    """A plan is kept while it is the wanted one, or its engine may answer until that one serves.

    Not longer, also where other models keep that engine: this one is not to go back to it.
    """
    if not isinstance(view.planned, PooledRevision) or view.files is None:
        return False
    if view.files.state != "There":
        return False
    if not revision.is_pooled(stored):
        return True
    found = revision.readable([stored])
    if not found:
        return True
    serves = view.engine is not None and view.engine.state == "Serving"
    answers = found[0].id in _resident(view.observed) and not serves
    return found[0].name != view.planned.name and not answers


def _resident(observed: Observed) -> frozenset[str]:
    return frozenset(one.id for one in _engines(observed).values() if one.pod_uid)


def _ended_jobs(view: View) -> list[Object]:
    """Not those of plans before: they tell that its engine's files are there, until it goes."""
    kept = _of_plans_before(view)
    return [job for job in _superseded(view) if not job["metadata"]["name"].startswith(kept)]


def _superseded(view: View) -> list[Object]:
    if not isinstance(view.planned, PooledRevision):
        return dedicated.superseded_jobs(view.observed, view.resolved, view.planned)
    jobs = view.observed.children.jobs
    kept = view.files.job["metadata"]["name"] if view.files and view.files.job else ""
    return [job for job in jobs if job["metadata"]["name"] != kept]


def _of_plans_before(view: View) -> tuple[str, ...]:
    """The prefixes of their Jobs' names."""
    stored = revision.readable(view.observed.children.revisions)
    now = view.planned.files if isinstance(view.planned, PooledRevision) else ""
    before = {one.files for one in stored} - {now, ""}
    return tuple(fetch_job.prefix(view.resolved, one) for one in before)


def left(observed: Observed) -> tuple[Observed, list[Deletion]]:
    """A model that is in no pool without the plans that it had in one, and their end."""
    stored = observed.children.revisions
    pooled = [one for one in stored if revision.is_pooled(one)]
    if not pooled:
        return observed, []
    own = tuple(one for one in stored if not revision.is_pooled(one))
    children = replace(observed.children, revisions=own)
    gone = [Deletion.of(one) for one in pooled if not is_terminating(one)]
    return replace(observed, children=children), gone
