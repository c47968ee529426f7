"""What one start taught: of an engine that failed for memory, or of one that serves. Pure.

An engine that found too little memory before it ever served is planned once more, with what it
said was missing; if that fails too, its own words stand, with their fix. Nothing is remembered:
the stored revisions of a spec tell what has been tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from berth_api.shape import Short, Shortage
from berth_api.spec import Spec
from berth_api.status import ConditionType, Memories, Plan
from berth_operator.core import problems
from berth_operator.core.kubernetes import (
    condition,
    container_statuses,
    is_ready,
    is_terminating,
    termination,
    timestamp,
)
from berth_operator.core.observed import Object, Observed
from berth_operator.core.planner import deviation
from berth_operator.core.planner.learned import MEASURED, Correction, Record, arguments_of, shape_of
from berth_operator.core.problems import Problem
from berth_operator.core.revision import Revision

OUT_OF_MEMORY: Final = "OutOfMemory"
KV_TOO_SMALL: Final = "KVCacheTooSmall"
_FOR_MEMORY: Final = frozenset({OUT_OF_MEMORY, KV_TOO_SMALL})

# How `Plan.learned_from` of the second attempt begins: there is no third.
_AFTER: Final = "the failure of revision "
# The engine prints GiB with two digits: each of the two numbers is off by half of the last.
_ROUNDING_BYTES: Final = 2 * 2**30 // 200
# What is taken where no number says what is missing. There is one more attempt, so it is generous:
# five times the error that a plan may have of a card.
_STEP_PERCENT: Final = 5
# A neighbour's memory may come free while the container starts again; only one that stays counts.
_NEIGHBOUR_FAILURES: Final = 2


@dataclass(frozen=True)
class Lesson:
    """Why, and with what correction, `revision` is planned once more."""

    revision: Revision
    problem: Problem
    correction: Correction


def replan(observed: Observed, known: Sequence[Revision], spec: Spec) -> Lesson | None:
    """For the newest of `known`, the stored revisions of this spec; None: it stays as it is."""
    newest = max(known, key=lambda one: one.number)
    if any(is_second(one.plan) for one in known if _same_card(one, newest)):
        return None
    problem = _failed_for_memory(observed, newest)
    if problem is None or _has_served(observed, newest):
        return None
    found = _correction(newest, problem, spec)
    return None if found is None else Lesson(newest, problem, found)


def is_second(plan: Plan) -> bool:
    """Whether this plan was made because one before it failed."""
    return (plan.learned_from or "").startswith(_AFTER)


def same_start(old: Plan, new: Plan) -> bool:
    """Whether an engine would be started as before, so that it would fail as before."""
    return _start(old) == _start(new)


def _start(plan: Plan) -> tuple[object, ...]:
    kv_bytes = plan.kv_cache_bytes if plan.gpu_memory_fraction is None else None
    return (
        (plan.accelerator, plan.image, plan.tensor_parallel_size, plan.gpu_memory_fraction),
        (plan.dtype, plan.kv_cache_dtype, kv_bytes, plan.memory_bytes),
        (plan.max_model_len, plan.max_num_seqs, plan.max_num_batched_tokens),
    )


def _same_card(one: Revision, other: Revision) -> bool:
    return one.plan.accelerator == other.plan.accelerator


def _failed_for_memory(observed: Observed, revision: Revision) -> Problem | None:
    pods = [one for one in observed.pods_of(revision.name) if not is_terminating(one.object)]
    problem = problems.of_pods(pods)
    if problem is None or problem.condition != ConditionType.RUNTIME_HEALTHY.value:
        return None
    return problem if problem.failure.reason in _FOR_MEMORY else None


def _has_served(observed: Observed, revision: Revision) -> bool:
    """Memory that ran out later, under load, is no fault that a start could show."""
    told = observed.cr.get("status", {})
    measured = told.get("plan", {}).get("measured")
    if measured and told.get("updateRevision") == revision.name:
        return True
    pods = [pod.object for pod in observed.pods_of(revision.name)]
    return any(is_ready(pod) or _served_before_it_ended(pod) for pod in pods)


def _served_before_it_ended(pod: Object) -> bool:
    """A pod that was never ready is unready since before its first container began."""
    unready_since = condition(pod, "Ready").get("lastTransitionTime", "")
    ends = [
        ended
        for container in container_statuses(pod)
        if container["name"] == "engine" and (ended := termination(container))
    ]
    return any(unready_since > (ended.get("startedAt") or unready_since) for ended in ends)


def _correction(revision: Revision, problem: Problem, spec: Spec) -> Correction | None:
    plan, failure = revision.plan, problem.failure
    short = failure.shortage or _by_reason(failure.reason)
    if short.step is Short.STARTING and problem.count < _NEIGHBOUR_FAILURES:
        return None
    outside = plan.gpu_memory_fraction is not None and short.step in (Short.STARTING, Short.RUNNING)
    if outside and spec.memory.gpu_memory_fraction != "auto":
        return None
    source = f"{_AFTER}{revision.name} ({failure.reason})"
    missing = _missing_bytes(plan, short)
    if missing > 0:
        return _with_more(_applied(plan, source), missing + _ROUNDING_BYTES, outside=outside)
    if short.longest_tokens is None or spec.runtime.max_model_len != "auto":
        return None
    return replace(_applied(plan, source), longest_tokens=short.longest_tokens)


def _applied(plan: Plan, source: str) -> Correction:
    """What the plan was corrected by: a lesson adds to it."""
    outside = plan.learned_outside_bytes or 0
    return Correction(plan.learned_bytes or 0, source, outside_bytes=outside)


def _with_more(before: Correction, missing: int, *, outside: bool) -> Correction:
    if outside:
        return replace(before, outside_bytes=before.outside_bytes + missing)
    return replace(before, extra_bytes=before.extra_bytes + missing)


def _by_reason(reason: str) -> Shortage:
    """Of a failure that has no numbers: the kernel's, or one that an older server tells."""
    return Shortage(step=Short.KV_CACHE if reason == KV_TOO_SMALL else Short.HOST)


def _missing_bytes(plan: Plan, short: Shortage) -> int:
    """By how much the engine took more than was planned; 0 where no plan would mend it."""
    on_cpu = plan.gpu_memory_fraction is None
    step = plan.usable_bytes * _STEP_PERCENT // 100
    asked, free = short.needed_bytes, short.available_bytes
    over = None if asked is None or free is None else max(0, asked - free)
    match short.step:
        case Short.KV_CACHE:
            # What the plan promised and the engine did not have, not only what one request lacks.
            return plan.kv_cache_bytes + (step if free is None else -free)
        case Short.LOADING:
            # The card was full, and none of it was the KV cache's.
            beyond = (short.total_bytes or deviation.card_bytes(plan)) - plan.usable_bytes
            return plan.kv_cache_bytes + max(0, beyond) + (step if over is None else over)
        case Short.HOST:
            return max(asked or 0, step) if on_cpu else 0
        case Short.STARTING:
            return 0 if on_cpu else step if over is None else over
        case Short.RUNNING:
            return max(over or 0, step)


def of_failure(lesson: Lesson, spec: Spec, now: datetime) -> tuple[Record, ...]:
    """For the next deployment; a neighbour's memory teaches nothing of the model."""
    shortage = lesson.problem.failure.shortage
    if shortage is not None and shortage.step is Short.STARTING:
        return ()
    found = lesson.correction
    reason = lesson.problem.failure.reason
    return (_record(lesson.revision, spec, found, now=now, reason=reason),)


def of_status(
    observed: Observed, revision: Revision | None, told: dict[str, Any], spec: Spec
) -> tuple[Record, ...]:
    """What a status says for the first time of an engine that serves; () at rest."""
    before = observed.cr.get("status", {})
    seen = told.get("plan", {}).get("measured")
    same = before.get("updateRevision") == told.get("updateRevision")
    if (
        revision is None
        or seen is None
        or (same and before.get("plan", {}).get("measured") == seen)
    ):
        return ()
    found = of_measurement(revision.plan, Memories.model_validate(seen))
    return () if found is None else (_record(revision, spec, found, now=observed.now),)


def of_measurement(plan: Plan, measured: Memories) -> Correction | None:
    """What the plan should have reserved more (below 0: less); None where nothing tells.

    On a GPU the engine gives its KV cache all that it did not take itself, so that the KV memory
    tells it whole. On CPU the KV cache is set, and only a pod that holds more than all that was
    planned tells anything: its peak was before. Neither tells what the engine does not count: the
    records of that stay (learned.changes).
    """
    before = plan.learned_bytes or 0
    if plan.gpu_memory_fraction is None:
        held = measured.resident_bytes
        over = (
            0 if held is None else (held - deviation.pod_bytes(plan)) // plan.tensor_parallel_size
        )
        return Correction(before + over, MEASURED) if over > 0 else None
    if measured.kv_cache_bytes is None:
        return None
    reserved = plan.activation_bytes + plan.graph_bytes + plan.overhead_bytes
    more = plan.kv_cache_bytes - measured.kv_cache_bytes
    return Correction(before + max(more, -reserved), MEASURED)


def _record(
    revision: Revision, spec: Spec, found: Correction, *, now: datetime, reason: str = MEASURED
) -> Record:
    plan = revision.plan
    card = deviation.card_bytes(plan)  # a lack of more than all of it is one of all of it
    return Record(
        model=revision.source,
        shape=shape_of(revision.shape),
        accelerator=plan.accelerator,
        card_bytes=card,
        tensor_parallel=plan.tensor_parallel_size,
        image=plan.image,
        dtype=plan.dtype,
        kv_dtype=plan.kv_cache_dtype,
        sequences=plan.max_num_seqs,
        tokens=plan.max_num_batched_tokens,
        arguments=arguments_of(spec),
        extra_bytes=min(found.extra_bytes, card),
        outside_bytes=min(found.outside_bytes, card),
        reason=reason,
        at=timestamp(now),
    )
