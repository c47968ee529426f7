"""What a ModelPool's status says of each engine: where it is, or what it waits for, and why."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from berth_api.pool import EngineState, PoolEngine
from berth_api.server import EngineStatus
from berth_operator.core.kubernetes import moment, timestamp
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
