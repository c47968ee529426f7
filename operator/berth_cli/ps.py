"""`berth ps`: every model in a line. Pure; what is not known is a dash, and null in JSON."""

import json
from collections.abc import Sequence
from typing import Any, Final

from berth_api import seat, telling
from berth_api.quantity import format_bytes
from berth_api.status import Plan
from berth_api.telling import measured_bytes
from berth_cli.columns import DASH, columns
from berth_cli.models import Known

_HEADER: Final = ("NAME", "PHASE", "PROCESSOR", "MEMORY", "MEASURED", "CONTEXT", "UNTIL")
_COUNTS: Final = ("IN FLIGHT", "HELD", "REPLICAS")
_WIDER: Final = ("SOURCE", "REASON", "COMMIT", "URL")


def as_text(models: Sequence[Known], *, namespaces: bool, wide: bool) -> str:
    if not models:
        return "no ModelDeployments; `berth create`, or kubectl apply"
    header = (*_HEADER, *_COUNTS, *(_WIDER if wide else ()))
    rows = [_row(one, wide=wide) for one in models]
    if namespaces:
        header = ("NAMESPACE", *header)
        rows = [(one.namespace, *row) for one, row in zip(models, rows, strict=True)]
    return columns([header, *rows])


def as_json(models: Sequence[Known]) -> str:
    return json.dumps({"models": [_object(one) for one in models]}, indent=2)


def _row(one: Known, *, wide: bool) -> tuple[str, ...]:
    plan, asked, status = one.status.plan, one.asked, one.status
    found = (
        one.name,
        " ".join(part for part in (status.phase, status.progress) if part),
        _where(one),
        _size(_planned_bytes(one)),
        _size(measured_bytes(plan.measured if plan else None)),
        _number(plan.max_model_len if plan else None),
        until(one) or "",
        _number(asked.in_flight if asked else None),
        _number(asked.held if asked else None),
        _replicas(one),
    )
    wider = (
        one.spec.model.source,
        status.reason or "",
        status.model.commit if status.model else "",
        status.url or "",
    )
    return tuple(part or DASH for part in (*found, *(wider if wide else ())))


def _object(one: Known) -> dict[str, Any]:
    status, plan, asked = one.status, one.status.plan, one.asked
    return {
        "namespace": one.namespace,
        "name": one.name,
        "source": one.spec.model.source,
        "commit": status.model.commit if status.model else None,
        "phase": status.phase,
        "progress": status.progress,
        "reason": status.reason,
        "message": status.message,
        "processor": _processor(plan),
        "memory": {
            "plannedBytes": _planned_bytes(one),
            "measuredBytes": measured_bytes(plan.measured if plan else None),
        },
        "context": plan.max_model_len if plan else None,
        "until": until(one),
        "inFlight": asked.in_flight if asked else None,
        "held": asked.held if asked else None,
        "oldestHeldSeconds": asked.oldest_held_seconds if asked else None,
        "replicas": {
            "ready": status.ready_replicas,
            "current": status.replicas,
            "wanted": wanted(one),
        },
        "url": status.url,
        "pool": one.seat.wire() if one.seat else None,
    }


def _where(one: Known) -> str:
    plan = one.status.plan
    if one.seat is not None:
        return seat.place(one.seat, plan.device if plan else None)
    return telling.processor(plan) or ""


def _planned_bytes(one: Known) -> int | None:
    """Of a GPU, or of a pod without one; in a pool the engine's share of each of its cards."""
    if one.seat is not None and one.seat.engine is not None:
        return one.seat.engine.memory_bytes
    return one.status.plan.usable_bytes if one.status.plan else None


def _processor(plan: Plan | None) -> dict[str, Any] | None:
    if plan is None:
        return None
    return {
        "accelerator": plan.accelerator,
        "device": plan.device,
        "tensorParallelSize": plan.tensor_parallel_size,
        "pipelineParallelSize": plan.pipeline_parallel_size,
    }


def until(one: Known) -> str | None:
    """How long it stays: `forever`, or so long without a request. None where nothing runs.

    When its last request was, nobody tells but a pool, which says when the model goes.
    """
    if one.seat is not None:
        return seat.until(one.seat, telling.unless_asked(one.spec, goes=True))
    return telling.until(one.spec, one.status)


def wanted(one: Known) -> int | None:
    """As many replicas as are to be; None where the operator has not decided yet."""
    return telling.wanted(one.spec, one.status) if one.seat is None else one.seat.wanted


def _replicas(one: Known) -> str:
    ready = _number(one.status.ready_replicas) or DASH
    return f"{ready}/{_number(wanted(one)) or DASH}"


def _number(count: int | None) -> str:
    return "" if count is None else str(count)


def _size(count: int | None) -> str:
    return "" if count is None else format_bytes(count)
