"""From a spec to an engine of its pool: reuse a stored plan, or read the shape and make one."""

from berth_api import engine_flags
from berth_api.shape import Failure, ShapeReport
from berth_operator.core import revision as revisions
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model import architecture
from berth_operator.core.objects import fetch_job
from berth_operator.core.objects.pod_template import engine_config
from berth_operator.core.observed import Observed
from berth_operator.core.planner import fit, planning, share
from berth_operator.core.planner.context import Context
from berth_operator.core.planner.reading import Reading, Refused, shape_report
from berth_operator.core.pools import revision
from berth_operator.core.pools.pool import ResolvedPool
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.resolved import Resolved

Planning = PooledRevision | Reading | Refused


def plan(
    observed: Observed, resolved: Resolved, context: Context, pool: ResolvedPool, offer: Offer
) -> Planning:
    stored = revision.readable(observed.children.revisions)
    known = wanted(stored, resolved, pool)
    if known is not None:
        return known
    if problem := _refused(resolved, pool, offer):
        return Refused(problem)
    dedicated = [one for one in observed.children.revisions if not revision.is_pooled(one)]
    same = [*revisions.readable(dedicated), *stored]
    report = shape_report(observed, resolved, same, offer, context.settings)
    if not isinstance(report, ShapeReport):
        return report
    return _fit(observed, resolved, pool, offer, report)


def wanted(
    stored: list[PooledRevision], resolved: Resolved, pool: ResolvedPool
) -> PooledRevision | None:
    """The newest that was made for this spec and this pool as they are now."""
    hashes = (resolved.spec_hash, pool.name, pool.plan_hash)
    same = [one for one in stored if (one.spec_hash, one.pool, one.pool_hash) == hashes]
    return same[-1] if same else None


def _refused(resolved: Resolved, pool: ResolvedPool, offer: Offer) -> Failure | None:
    """What a model cannot ask for where others are, before anything is read."""
    flags = engine_flags.refused(resolved.spec.runtime.extra_args)
    if flags:
        return planning.managed_flags(flags)
    image = pool.spec.runtime.image or offer.engine.image
    asked = resolved.spec.runtime.image
    if asked is not None and asked != image:
        return Failure(
            reason="InvalidSpec",
            message=f"spec.runtime.image {asked}: all engines of pool {pool.name} run {image}",
            fix="leave it out, or use a pool with this image",
        )
    profile = resolved.spec.runtime.engine_profile
    if profile not in ("auto", offer.engine.name):
        return Failure(
            reason="InvalidSpec",
            message=f"spec.runtime.engineProfile {profile}: pool {pool.name} has "
            f"{offer.engine.name}",
            fix="leave it out, or set it at the pool",
        )
    return None


def _fit(
    observed: Observed, resolved: Resolved, pool: ResolvedPool, offer: Offer, report: ShapeReport
) -> PooledRevision | Refused:
    directory = fetch_job.directory(resolved, pool, report)
    if directory is None:
        return Refused(_foreign_claim(resolved, pool))
    model = architecture.read(report)
    if isinstance(model, Failure):
        return Refused(model)
    learned = planning.remembered(observed, resolved, report, model)
    verdict = share.plan(model, offer, resolved.spec, learned)
    if not isinstance(verdict, fit.Fits):
        calculated = verdict.plan if isinstance(verdict, fit.DoesNotFit) else None
        return Refused(planning.why_not(verdict, ()), plan=calculated)
    image = pool.spec.runtime.image or offer.engine.image
    return revision.make(
        resolved,
        verdict.plan.model_copy(update={"image": image}),
        report,
        number=planning.next_number(observed),
        pool=pool.name,
        pool_hash=pool.plan_hash,
        engine=engine_config(resolved, offer.engine, verdict.plan, directory),
        files=fetch_job.files_hash(resolved, pool, report),
    )


def _foreign_claim(resolved: Resolved, pool: ResolvedPool) -> Failure:
    claim = pool.spec.cache.claim_name
    return Failure(
        reason="InvalidSpec",
        message=f"spec.model.source {resolved.spec.model.source}: the pods of pool {pool.name} "
        f"mount claim {claim} and no other",
        fix=f"put the files into {claim} and name them pvc://{claim}/<folder>, or leave spec.pool "
        "out",
    )
