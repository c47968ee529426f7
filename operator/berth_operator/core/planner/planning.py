"""From a spec to a revision: reuse a stored one, or read the model's shape and make a plan.

`auto` is resolved here, once: a spec that has been planned before keeps its plan. It leaves it only
for the next accelerator of its list, when no node had room for its pods for long (core.fallback).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from berth_api import engine_flags
from berth_api.shape import Failure, ShapeReport
from berth_api.status import Alternative
from berth_operator.core import revision
from berth_operator.core.accelerators import fallback, offers
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model import adapters as adapter_slots
from berth_operator.core.model import architecture
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.objects import pod_template, shape_job
from berth_operator.core.observed import Object, Observed
from berth_operator.core.planner import adapters, fit, lessons
from berth_operator.core.planner.alternatives import bounded
from berth_operator.core.planner.attempt import usable_bytes
from berth_operator.core.planner.context import Context
from berth_operator.core.planner.image_volumes import image_volumes
from berth_operator.core.planner.learned import (
    Correction,
    Question,
    arguments_of,
    correction,
    shape_of,
)
from berth_operator.core.planner.lessons import Lesson
from berth_operator.core.planner.reading import Reading, Refused, latest_attempt, shape_report
from berth_operator.core.planner.reserves import Batch
from berth_operator.core.planner.wishes import served_dtype
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision

__all__ = ["Planned", "Planning", "Reading", "Refused", "plan", "superseded_jobs"]


class Known(NamedTuple):
    """What is planned for, as it was read."""

    shape: ShapeReport
    adapters: adapters.Reports


@dataclass(frozen=True)
class Planned:
    revision: Revision
    waiting: str = ""  # what becomes of pods that no node has room for
    left: str = ""  # why the accelerator before this one was left, just now
    lesson: Lesson | None = None  # why it was planned once more, just now


Planning = Planned | Reading | Refused


def plan(observed: Observed, resolved: Resolved, context: Context) -> Planning:
    stored = revision.readable(observed.children.revisions)
    known = [one for one in stored if one.spec_hash == resolved.spec_hash]
    if lost := revision.lost(observed.children.revisions, resolved.spec_hash):
        return Refused(lost)
    if known:
        return _go_on(observed, resolved, context, stored, known)
    return _plan_anew(observed, resolved, context, stored)


def _go_on(
    observed: Observed,
    resolved: Resolved,
    context: Context,
    stored: list[Revision],
    known: list[Revision],
) -> Planned | Refused:
    """With the newest plan, unless a failure or a lack of room asks for another."""
    lesson = lessons.replan(observed, known, resolved.spec)
    if lesson and (again := _once_more(observed, resolved, context, lesson)):
        return again
    return _stay_or_leave(observed, resolved, context, stored, known)


def _stay_or_leave(
    observed: Observed,
    resolved: Resolved,
    context: Context,
    stored: list[Revision],
    known: list[Revision],
) -> Planned:
    """On the next accelerator that fits, once no node had room on the newest's for long enough."""
    newest = max(known, key=_number)
    waited = fallback.waited(observed, newest)
    if waited is None:
        return Planned(newest)
    if older := fallback.holder(observed, newest, stored):
        return Planned(newest, waiting=_given_up(older))
    found = offers.offers(context.settings, observed.nodes, resolved.spec)
    left = fallback.untried([one for one in found if isinstance(one, Offer)], known)
    limit = context.settings.accelerator_fallback_seconds
    if waited.total_seconds() < limit:
        next_one = f"{left[0].profile.name} is tried after {limit} s" if left else ""
        return Planned(newest, waiting=next_one)
    lost = fallback.left_behind(newest, limit)
    named = {one.accelerator for one in lost}
    lost += [one for one in _not_offered(found) if one.accelerator not in named]
    for offer in left:
        known_of = Known(newest.shape, newest.adapters)
        tried = _fit(observed, resolved, context, (offer,), known_of=known_of, lost=lost)
        if isinstance(tried, Refused):
            lost.append(Alternative(accelerator=offer.profile.name, reason=tried.failure.message))
        elif tried.revision.name not in {one.name for one in known}:
            why = f"no node had room on {newest.plan.accelerator} for {limit} s"
            return replace(tried, left=f"{why}: planned anew on {offer.profile.name}")
    several = len(resolved.spec.accelerators) > 1
    return Planned(newest, waiting="no other of spec.accelerators is left" if several else "")


def _given_up(older: Revision) -> str:
    return (
        f"revision {older.name} of this model holds {older.plan.accelerator} until this one "
        "serves: set spec.rollout.strategy to Recreate to have it go first"
    )


def _once_more(
    observed: Observed,
    resolved: Resolved,
    context: Context,
    lesson: Lesson,
) -> Planned | Refused | None:
    """The plan after a failure for memory; None where it would start the engine as before."""
    failed = lesson.revision
    found = offers.offers(context.settings, observed.nodes, resolved.spec)
    offered = [one for one in found if isinstance(one, Offer)]
    while offered and offered[0].profile.name != failed.plan.accelerator:
        del offered[0]  # left before, or not there
    if not resolved.spec.accelerators:  # it did not ask for another device
        offered = [one for one in offered if one.profile.name == failed.plan.accelerator]
    if not offered:
        return None
    tried = _fit(
        observed,
        resolved,
        context,
        tuple(offered),
        known_of=Known(failed.shape, failed.adapters),
        lesson=lesson,
    )
    if isinstance(tried, Refused):
        # Where nothing was set there is nothing to refuse: the engine's words and fix stand.
        return None if resolved.spec.runtime.max_model_len == "auto" else _after(lesson, tried)
    if lessons.same_start(failed.plan, tried.revision.plan):
        return None
    return replace(tried, lesson=lesson)


def _after(lesson: Lesson, refused: Refused) -> Refused:
    """Nothing fits that the engine would accept: its own words first, then the arithmetic's."""
    why = f"{lesson.problem.failure.message}; planned once more: {refused.failure.message}"
    return Refused(refused.failure.model_copy(update={"message": why}))


def _taught(lesson: Lesson, remembered: fit.Learned) -> fit.Learned:
    """The lesson where it was learned; elsewhere what is remembered."""
    taught = lesson.revision.plan.accelerator

    def learned(offer: Offer, size: int, batch: Batch) -> Correction | None:
        same = offer.profile.name == taught
        return lesson.correction if same else remembered(offer, size, batch)

    return learned


def remembered(
    observed: Observed, resolved: Resolved, report: ShapeReport, model: ModelShape
) -> fit.Learned:
    """What other deployments of this model taught."""
    spec = resolved.spec
    shape, arguments = shape_of(report), arguments_of(spec)

    def corrected(offer: Offer, size: int, batch: Batch) -> Correction | None:
        question = Question(
            shape=shape,
            accelerator=offer.profile.name,
            # As a record has it (deviation.card_bytes): a whole card; on CPU a rank's part.
            card_bytes=usable_bytes(offer, spec, Decimal(1), size),
            tensor_parallel=size,
            image=spec.runtime.image or offer.engine.image,
            dtype=served_dtype(model, offer, spec),
            kv_dtype=spec.runtime.kv_cache_dtype.value,
            sequences=batch.sequences,
            tokens=batch.tokens,
            arguments=arguments,
        )
        return correction(observed.learned, question)

    return corrected


def _number(one: Revision) -> int:
    return one.number


def next_number(observed: Observed) -> int:
    return max(map(revision.number_of, observed.children.revisions), default=0) + 1


def _not_offered(found: offers.Found) -> list[Alternative]:
    return [
        Alternative(accelerator=one.accelerator, reason=one.message)
        for one in found
        if isinstance(one, offers.NoOffer)
    ]


def _plan_anew(
    observed: Observed, resolved: Resolved, context: Context, stored: list[Revision]
) -> Planning:
    spec = resolved.spec
    flags = engine_flags.refused(spec.runtime.extra_args, adapted=bool(spec.adapters))
    if flags:
        return Refused(managed_flags(flags))
    found = offers.offers(context.settings, observed.nodes, resolved.spec)
    offered = tuple(one for one in found if isinstance(one, Offer))
    if not offered:
        return Refused(_nothing_offered(found))
    # Reading takes no card: a node that is there will do.
    place = next((offer for offer in offered if offer.nodes), offered[0])
    report = shape_report(observed, resolved, stored, place, context.settings)
    if not isinstance(report, ShapeReport):
        return report
    read = adapters.reports(observed, resolved, stored, place, context.settings)
    if isinstance(read, Reading | Refused):
        return read
    known_of = Known(report, read)
    return _fit(observed, resolved, context, offered, known_of=known_of, lost=_not_offered(found))


def _nothing_offered(found: offers.Found) -> Failure:
    """The first entry's reason; the others' words follow it."""
    refusals = [one for one in found if isinstance(one, offers.NoOffer)]
    words = dict.fromkeys(one.message for one in refusals)
    return Failure(reason=refusals[0].reason, message="; ".join(words), fix=refusals[0].fix)


def _fit(
    observed: Observed,
    resolved: Resolved,
    context: Context,
    offered: tuple[Offer, ...],
    *,
    known_of: Known,
    lost: Sequence[Alternative] = (),
    lesson: Lesson | None = None,
) -> Planned | Refused:
    """`lost` are accelerators that were not even offered; `lesson` is why it is planned again."""
    model = architecture.read(known_of.shape)
    if isinstance(model, Failure):
        return Refused(model)
    if refusal := adapters.refusal(known_of.adapters, model):
        return Refused(refusal)
    known = remembered(observed, resolved, known_of.shape, model)
    learned = _taught(lesson, known) if lesson else known
    slots = adapter_slots.of(known_of.adapters.values())
    verdict = fit.choose(model, offered, resolved.spec, learned, slots)
    if not isinstance(verdict, fit.Fits):
        calculated = verdict.plan if isinstance(verdict, fit.DoesNotFit) else None
        return Refused(why_not(verdict, lost), plan=calculated)
    alternatives = bounded([*lost, *verdict.plan.alternatives])
    chosen = verdict.plan.model_copy(update={"alternatives": alternatives})
    return Planned(_rendered(observed, resolved, context, replace(verdict, plan=chosen), known_of))


def _rendered(
    observed: Observed, resolved: Resolved, context: Context, chosen: fit.Fits, known_of: Known
) -> Revision:
    given = pod_template.Build(
        resolved=resolved,
        settings=context.settings,
        engine=chosen.offer.engine,
        accelerator=chosen.offer.profile,
        plan=chosen.plan,
        shape=known_of.shape,
        revision=revision.name_of(resolved, chosen.plan),
        image_volumes=image_volumes(context.settings, observed.nodes),
        adapters=known_of.adapters,
    )
    return revision.make(
        resolved,
        chosen.plan,
        known_of.shape,
        pod_template.build(given),
        number=next_number(observed),
        entry=chosen.offer.entry,
        adapters=known_of.adapters,
    )


def managed_flags(flags: Sequence[tuple[str, str]]) -> Failure:
    named = ", ".join(flag for flag, _ in flags)
    return Failure(
        reason="InvalidSpec",
        message=f"spec.runtime.extraArgs: {named} is managed by Berth",
        fix="; ".join(dict.fromkeys(fix for _, fix in flags)),
    )


def why_not(verdict: fit.DoesNotFit | fit.Illegal, lost: Sequence[Alternative]) -> Failure:
    """The first accelerator's reason and fixes; the others' words follow it."""
    if isinstance(verdict, fit.Illegal):
        return Failure(
            reason=verdict.reason, message=f"{verdict.field}: {verdict.message}", fix=verdict.fix
        )
    plan = verdict.plan
    others = [one for one in plan.alternatives if one.accelerator != plan.accelerator]
    words = [verdict.message, *(f"{one.accelerator}: {one.reason}" for one in (*lost, *others))]
    return Failure(reason=verdict.reason, message="; ".join(words), fix=", or ".join(verdict.fixes))


def superseded_jobs(observed: Observed, resolved: Resolved, planning: Planning) -> list[Object]:
    """Jobs whose answer is no longer wanted: all once planned, else all but the latest attempt."""
    if isinstance(planning, Planned):
        return list(observed.children.jobs)
    prefix = shape_job.prefix(resolved)
    stored = revision.readable(observed.children.revisions)
    keep = {
        f"{prefix}{latest_attempt(observed.children.jobs, prefix)[0]}",
        adapters.wanted_job(observed, resolved, stored),
    }
    if isinstance(planning, Reading):
        asked = planning.job["metadata"]["name"]
        attempts = asked.rpartition("-")[0]
        keep = {name for name in keep if name and name.rpartition("-")[0] != attempts} | {asked}
    return [job for job in observed.children.jobs if job["metadata"]["name"] not in keep]
