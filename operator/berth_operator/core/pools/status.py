"""What a ModelPool's status says: its engines with their reasons, its cards, its pods.

It is the pool's memory as well: what was ordered where, which loads failed, how long they took.
Nothing that changes by itself is in it, so that a pool at rest is not written.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from berth_api import names
from berth_api.pool import EngineState, PoolCard, PoolEngine, PoolStatus
from berth_api.server import EngineStatus
from berth_api.shape import Failure
from berth_api.status import Condition
from berth_operator.core import problems
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import is_ready, moment, timestamp
from berth_operator.core.pools import cards
from berth_operator.core.pools.failures import History
from berth_operator.core.pools.observed import PoolObserved, uid
from berth_operator.core.pools.orders import Placed
from berth_operator.core.pools.residents import reports
from berth_operator.core.residency.pool import Pool, Resident
from berth_operator.core.residency.verdicts import Decision, Kept, Leaves, Refused, Waits

# A keep-alive's end moves with every request, so it is told of an engine that has been idle for so
# long: one that is in use is not written for each.
IDLE_SECONDS: Final = 5.0


def of(
    observed: PoolObserved,
    offer: Offer,
    question: Pool,
    decision: Decision,
    *,
    where: tuple[Placed, ...],
    history: Mapping[str, History],
    orders: str,
) -> PoolStatus:
    engines = _engines(observed, question, decision, where, history)
    truth = _truth(observed, None)
    return _common(observed, truth).model_copy(
        update={
            "loaded": sum(one.state == "Serving" for one in engines),
            "waiting": sum(one.state == "Waiting" for one in engines),
            "sequence": _sequence(observed, orders),
            "orders": orders,
            "engines": engines,
            "cards": _cards(observed, offer, where),
        }
    )


def _sequence(observed: PoolObserved, orders: str) -> int:
    """Grows when the orders change. A status that was lost starts above what the pods have."""
    told, reports = observed.status, (one.report for one in observed.active if one.report)
    heard = max((one.sequence or 0 for one in reports), default=0)
    same = told.orders == orders and told.sequence >= max(heard, 1)
    return told.sequence if same else max(told.sequence, heard) + 1


def of_refused(observed: PoolObserved, failure: Failure) -> PoolStatus:
    """Why it has no pods to decide about; what was told of its engines stands."""
    return _common(observed, _truth(observed, failure))


def _common(observed: PoolObserved, truth: tuple[bool, str, str, str]) -> PoolStatus:
    ready, phase, reason, message = truth
    serving = sum(is_ready(one.object) for one in observed.active)
    return observed.status.model_copy(
        update={
            "observed_generation": observed.pool.generation,
            "phase": phase,
            "reason": reason,
            "message": message,
            "replicas": len(observed.active),
            "ready_replicas": serving,
            "selector": f"{names.LABEL_POOL}={observed.pool.name},"
            f"{names.LABEL_ROLE}={names.ROLE_POOL}",
            "conditions": [_condition(observed, ready, reason, message)],
        }
    )


def _truth(observed: PoolObserved, failure: Failure | None) -> tuple[bool, str, str, str]:
    """Whether it is ready, its phase, and the reason that a user should mend first."""
    ready = sum(is_ready(one.object) for one in observed.active)
    wanted = observed.pool.spec.replicas
    told = f"{ready} of {wanted} pods take models"
    if failure is not None:
        return ready > 0, "Refused", failure.reason, f"{failure.message}. Fix: {failure.fix}"
    problem = pod_problem(observed)
    if problem is not None and (ready < wanted or observed.refusals):
        reason, message = problem.reason, f"{told}; {problem.message}. Fix: {problem.fix}"
        return ready > 0, "Degraded" if ready else "Pending", reason, message
    if ready >= wanted:
        return True, "Ready", "Serving" if wanted else "ScaledToZero", told
    return ready > 0, "Degraded" if ready else "Pending", "Starting", told


def pod_problem(observed: PoolObserved) -> Failure | None:
    if observed.refusals:
        return problems.of_refusal(observed.refusals[0]).failure
    found = problems.of_pods(one for one in observed.pods if not is_ready(one.object))
    if found is None:
        unmade = (problems.of_deployment(one) for one in observed.deployments)
        found = next((one for one in unmade if one is not None), None)
    return None if found is None else found.failure


def _condition(observed: PoolObserved, ready: bool, reason: str, message: str) -> Condition:
    status = "True" if ready else "False"
    before = next((one for one in observed.status.conditions if one.type == "Ready"), None)
    same = before is not None and before.status == status
    return Condition(
        type="Ready",
        status="True" if ready else "False",
        observed_generation=observed.pool.generation,
        last_transition_time=before.last_transition_time
        if same and before
        else timestamp(observed.now),
        reason=reason,
        message=message,
    )


# Engines


def _engines(
    observed: PoolObserved,
    question: Pool,
    decision: Decision,
    where: Iterable[Placed],
    history: Mapping[str, History],
) -> list[PoolEngine]:
    at = {one.revision.id: one for one in where}
    waits = {one.engine: one for one in decision.waits}
    leaves = {one.engine: one for one in decision.leaves}
    there = {one.engine: one for one in question.residents}
    found = []
    for id_ in sorted({*observed.plans, *there}):
        base = _base(observed, id_, history.get(id_, History()))
        if base is None:
            continue
        if id_ in at:
            told = _ordered(observed, question, at[id_], there.get(id_))
        elif id_ in there:
            told = _leaving(observed, there[id_], leaves.get(id_), waits.get(id_))
        else:
            told = _away(observed, waits.get(id_), history.get(id_, History()))
        found.append(base.model_copy(update=told))
    return found


def _base(observed: PoolObserved, id_: str, history: History) -> PoolEngine | None:
    """What does not depend on where it is; None for one that nobody knows any more."""
    revision = observed.plans.get(id_)
    before = next((one for one in observed.status.engines if one.id == id_), None)
    if revision is None and before is None:
        return None
    memory = revision.card_bytes if revision else before.memory_bytes if before else 0
    failure, until = history.failure, history.blocked_until
    return PoolEngine(
        id=id_,
        models=[one.name for one in observed.asked_by.get(id_, ())],
        state="Absent",
        memory_bytes=memory,
        attempt=history.attempt,
        load_seconds=history.load_seconds,
        measured=history.measured,
        failure_reason=failure.reason if failure else None,
        failure_message=failure.message if failure else None,
        failure_fix=failure.fix if failure else None,
        blocked_until=None if until is None else timestamp(until),
    )


def _ordered(
    observed: PoolObserved, question: Pool, one: Placed, resident: Resident | None
) -> dict[str, Any]:
    serving = one.wanted.routed
    report = _report(one)
    before = next((e for e in observed.status.engines if e.id == one.revision.id), None)
    same = before is not None and before.pod_uid == uid(one.pod) and before.state == "Loading"
    began = observed.now if resident is None else _at(resident.since)
    since = before.since if same and before and not serving else timestamp(began)
    told: dict[str, Any] = {
        "state": "Serving" if serving else "Loading",
        "pod": one.pod.object["metadata"]["name"],
        "pod_uid": uid(one.pod),
        "cards": one.cards,
        "port": one.port,
        "since": since,
        "until": _until(question, one, resident, before),
        "reason": "Serving" if one.wanted.why.because in _IN_USE else one.wanted.why.because,
        "message": "" if serving or report is None else (report.message or ""),
    }
    if not serving and report is not None:
        told |= {
            "phase": report.phase.value,
            "percent": report.percent,
            "eta_seconds": report.eta_seconds,
        }
    return told


def _report(one: Placed) -> EngineStatus | None:
    return next((told for told in reports(one.pod) if told.id == one.revision.id), None)


# What changes with every request.
_IN_USE: Final = frozenset({"Busy", "Idle"})


def _until(
    question: Pool, one: Placed, resident: Resident | None, before: PoolEngine | None
) -> str | None:
    why = one.wanted.why
    if resident is None or not isinstance(why, Kept) or why.until is None:
        return None
    if question.idle_for(resident) < IDLE_SECONDS:
        return None
    told = moment(before.until) if before is not None else None
    if told is not None and abs(told.timestamp() - why.until) < IDLE_SECONDS:
        return timestamp(told)  # gateways tell once a second, and not all at once
    return timestamp(_at(why.until))


def _leaving(
    observed: PoolObserved,
    resident: Resident,
    leaves: Leaves | None,
    waits: Waits | Refused | None,
) -> dict[str, Any]:
    pod = next((one for one in observed.active if uid(one) == resident.pod), None)
    before = next((e for e in observed.status.engines if e.id == resident.engine), None)
    state: EngineState = "Failed" if resident.state == "Failed" else "Draining"
    reason: str = leaves.because if leaves else "Draining"
    message = leaves.message if leaves else ""
    if before is not None and reason == "Draining" and before.state == "Draining":
        reason, message = before.reason, before.message  # why it was told to go
    if waits is not None:
        message = f"{message}; wanted again: {waits.message}"
    on_cpu = not before.cards if before is not None else False
    return {
        "state": state,
        "pod": pod.object["metadata"]["name"] if pod else None,
        "pod_uid": resident.pod if pod else None,
        "cards": [] if on_cpu else list(resident.cards),
        "port": before.port if before is not None else None,
        "since": before.since if before is not None else None,
        "reason": reason,
        "message": message,
    }


def _away(
    observed: PoolObserved, waits: Waits | Refused | None, history: History
) -> dict[str, Any]:
    if isinstance(waits, Refused):
        told = {"state": "Refused", "reason": "DoesNotFit", "message": waits.message}
        return told | {"failure_fix": waits.fix}
    blocked = history.blocked_until is not None and history.blocked_until > observed.now
    if blocked and (waits is None or waits.because == "BackOff"):
        message = history.failure.message if history.failure else ""
        return {"state": "Failed", "reason": "BackOff", "message": message}
    if waits is not None:
        return {"state": "Waiting", "reason": waits.because, "message": waits.message}
    return {"state": "Absent"}


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _cards(observed: PoolObserved, offer: Offer, where: Iterable[Placed]) -> list[PoolCard]:
    granted: dict[tuple[str, int], int] = {}
    for one in where:
        for card in one.wanted.cards:
            place = uid(one.pod), card
            granted[place] = granted.get(place, 0) + one.wanted.card_bytes
    return [
        PoolCard(
            pod=pod.object["metadata"]["name"],
            index=card,
            total_bytes=total,
            granted_bytes=granted.get((uid(pod), card), 0),
        )
        for pod in observed.active
        for card, total in enumerate(cards.room(offer))
    ]
