"""`berth why`: what a model waits for, on one screen, in the operator's and the scheduler's words.

Pure.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from berth_api.pool import PoolEngine
from berth_api.quantity import format_bytes
from berth_api.status import Condition, ConditionType
from berth_cli.columns import DASH, columns
from berth_cli.models import Known
from berth_cli.report import Screen, folded
from berth_operator.core.kubernetes import condition, container_statuses

Object = Mapping[str, Any]

# Conditions that say how it goes on, where those before them say what a model needs.
_NO_NEEDS: Final = frozenset({ConditionType.PROGRESSING.value, ConditionType.SCALING_ACTIVE.value})
_READY: Final = ConditionType.READY.value
_PAUSED: Final = ConditionType.PAUSED.value


@dataclass(frozen=True)
class PodTold:
    name: str
    node: str | None
    phase: str
    message: str  # the scheduler's, or the kubelet's of a container that does not run


@dataclass(frozen=True)
class Reason:
    """`waits_for` is the first condition of the chain that is not true; None: it serves."""

    known: Known
    waits_for: Condition | None
    pods: tuple[PodTold, ...]

    @property
    def serves(self) -> bool:
        return any(one.type == _READY and one.status == "True" for one in _conditions(self.known))


def reason(known: Known, pods: Sequence[Object]) -> Reason:
    """In the order in which the operator writes its conditions: Ready, and then the chain."""
    found = Reason(known, None, tuple(_pod(one) for one in pods))
    if found.serves:
        return found
    chain = [one for one in _conditions(known) if one.type not in _NO_NEEDS]
    paused = [one for one in chain if one.type == _PAUSED and one.status == "True"]
    needs = [one for one in chain if one.type not in (_READY, _PAUSED) and one.status != "True"]
    first = next(iter([*paused, *needs]), None)
    return Reason(known, first or next(iter(chain), None), found.pods)


def _conditions(known: Known) -> list[Condition]:
    return known.status.conditions


def _pod(pod: Object) -> PodTold:
    status = pod.get("status", {})
    scheduled = condition(pod, "PodScheduled")
    unplaced = scheduled.get("message", "") if scheduled.get("status") == "False" else ""
    return PodTold(
        name=pod["metadata"]["name"],
        node=pod.get("spec", {}).get("nodeName"),
        phase=status.get("phase", ""),
        message=unplaced or next(_waiting(pod), "") or status.get("message", ""),
    )


def _waiting(pod: Object) -> Iterator[str]:
    for one in container_statuses(pod):
        told = one.get("state", {}).get("waiting") or {}
        if told.get("message"):
            yield f"{one['name']}: {told.get('reason', '')}: {told['message']}"


def as_json(found: Reason) -> str:
    known, status = found.known, found.known.status
    return json.dumps(
        {
            "namespace": known.namespace,
            "name": known.name,
            "serves": found.serves,
            "phase": status.phase,
            "progress": status.progress,
            "reason": status.reason,
            "message": status.message,
            "waitsFor": found.waits_for.type if found.waits_for else None,
            "conditions": [one.wire() for one in status.conditions],
            "lastFailure": status.last_failure.wire() if status.last_failure else None,
            "nearestFixes": _fixes(found),
            "pods": [
                {"name": one.name, "node": one.node, "phase": one.phase, "message": one.message}
                for one in found.pods
            ],
            "held": known.asked.held if known.asked else None,
            "oldestHeldSeconds": known.asked.oldest_held_seconds if known.asked else None,
            "inFlight": known.asked.in_flight if known.asked else None,
            "pool": known.seat.wire() if known.seat else None,
        },
        indent=2,
    )


def as_text(found: Reason, screen: Screen) -> str:
    sections = (
        _headline(found, screen),
        _chain(found, screen),
        _seat(found, screen),
        _failure(found, screen),
        _listed("What would help", _fixes(found), screen),
        _pods(found, screen),
        _requests(found),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _headline(found: Reason, screen: Screen) -> list[str]:
    known, status = found.known, found.known.status
    state = " ".join(part for part in (status.phase, status.progress) if part)
    told = f"{state or 'not yet seen by the operator'}, {status.reason or DASH}"
    lines = [f"{known.namespace}/{known.name}: {told}"]
    lines += folded(status.message or "", screen, "  ")
    if found.waits_for is not None:
        lines.append(f"It waits for {found.waits_for.type}: {found.waits_for.reason}")
    return lines


def _chain(found: Reason, screen: Screen) -> list[str]:
    """Messages only of what is not true; and what is said above is not said again."""
    conditions = _conditions(found.known)
    if not conditions:
        return []
    rows = columns([(one.type, one.status, one.reason) for one in conditions], "  ").split("\n")
    told = ["" if one.status == "True" else one.message for one in conditions]
    lines = ["Conditions:"]
    for row, message in zip(rows, told, strict=True):
        new = message and message != found.known.status.message
        lines += [row, *(folded(message, screen, "      ") if new else [])]
    return lines


def _seat(found: Reason, screen: Screen) -> list[str]:
    """What the pool says of each of the model's engines, in its own words."""
    seat = found.known.seat
    if seat is None:
        return []
    lines = [f"Pool {seat.pool}:"]
    if not seat.engines:
        said = seat.fault or "it says nothing of this model yet"
        return lines + folded(said, screen, "  ")
    for one in seat.engines:
        lines += _engine(found.known, one, screen)
    return lines


def _engine(known: Known, one: PoolEngine, screen: Screen) -> list[str]:
    told = " ".join(part for part in (one.state, one.phase, _percent(one)) if part)
    why = f", {one.reason}" if one.reason else ""
    cards = f" on GPU {','.join(map(str, one.cards))}" if one.cards else ""
    where = f", in {one.pod}{cards}" if one.pod else ""
    needs = format_bytes(one.memory_bytes)
    lines = folded(f"engine {one.id}: {told}{why}{where}; its share is {needs}", screen, "  ")
    if one.message not in ("", known.status.message):
        lines += folded(one.message, screen, "      ")
    if one.blocked_until is not None:
        lines += folded(f"It is tried again at {one.blocked_until}", screen, "      ")
    return lines


def _percent(one: PoolEngine) -> str:
    return "" if one.percent is None else f"{one.percent}%"


def _failure(found: Reason, screen: Screen) -> list[str]:
    last = found.known.status.last_failure
    if last is None:
        return []
    where = f" of pod {last.pod}" if last.pod else ""
    where += f" on node {last.node}" if last.node else ""
    often = f", {last.count} times" if last.count > 1 else ""
    lines = folded(f"Last failure{where}, {last.time}{often}:", screen)
    lines += folded(f"{last.reason}: {last.message}", screen, "  ")
    return lines + (folded(f"Fix: {last.fix}", screen, "  ") if last.fix else [])


def _fixes(found: Reason) -> list[str]:
    plan = found.known.status.plan
    return list(plan.nearest_fixes) if plan is not None and not plan.fits else []


def _requests(found: Reason) -> list[str]:
    asked = found.known.asked
    if asked is None:
        return [f"Requests: {DASH}"]
    oldest = f", the first for {asked.oldest_held_seconds:.0f} s" if asked.held else ""
    return [f"Requests: {asked.in_flight} in flight, {asked.held} held{oldest}"]


def _pods(found: Reason, screen: Screen) -> list[str]:
    if not found.pods:
        return []
    rows = columns([(one.name, one.phase, one.node or DASH) for one in found.pods], "  ")
    lines = ["Pods:"]
    for row, one in zip(rows.split("\n"), found.pods, strict=True):
        lines += [row, *(folded(one.message, screen, "      ") if one.message else [])]
    return lines


def _listed(title: str, lines: Sequence[str], screen: Screen) -> list[str]:
    items = (folded(line, screen, "  - ") for line in lines)
    return [f"{title}:", *(line for item in items for line in item)] if lines else []
