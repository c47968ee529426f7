"""`berth pools`: every pool in a line. Pure; what is not known is a dash, and null in JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from berth_api.pool import PoolSpec, PoolStatus
from berth_api.quantity import format_bytes
from berth_cli.columns import DASH, columns

_HEADER: Final = (
    "NAME", "ACCELERATOR", "PODS", "CARDS", "GRANTED", "TOTAL", "LOADED", "WAITING", "REASON",
)  # fmt: skip


@dataclass(frozen=True)
class KnownPool:
    """A ModelPool, read."""

    namespace: str
    name: str
    spec: PoolSpec
    status: PoolStatus


def as_text(pools: Sequence[KnownPool], *, namespaces: bool) -> str:
    if not pools:
        return "no ModelPools; docs/pools.md says what they are for"
    rows = [_row(one) for one in pools]
    if namespaces:
        named = [(one.namespace, *row) for one, row in zip(pools, rows, strict=True)]
        return columns([("NAMESPACE", *_HEADER), *named])
    return columns([_HEADER, *rows])


def as_json(pools: Sequence[KnownPool]) -> str:
    return json.dumps({"pools": [_object(one) for one in pools]}, indent=2)


def _row(one: KnownPool) -> tuple[str, ...]:
    status = one.status
    ready = DASH if status.ready_replicas is None else str(status.ready_replicas)
    cards = status.cards
    return (
        one.name,
        one.spec.accelerator.profile,
        f"{ready}/{one.spec.replicas}",
        str(len(cards)) if cards else DASH,
        format_bytes(_granted(one)) if cards else DASH,
        format_bytes(_total(one)) if cards else DASH,
        DASH if status.loaded is None else str(status.loaded),
        DASH if status.waiting is None else str(status.waiting),
        status.reason or DASH,
    )


def _granted(one: KnownPool) -> int:
    return sum(card.granted_bytes for card in one.status.cards)


def _total(one: KnownPool) -> int:
    return sum(card.total_bytes for card in one.status.cards)


def _object(one: KnownPool) -> dict[str, Any]:
    status = one.status
    return {
        "namespace": one.namespace,
        "name": one.name,
        "accelerator": one.spec.accelerator.profile,
        "pods": {"ready": status.ready_replicas, "wanted": one.spec.replicas},
        "loaded": status.loaded,
        "waiting": status.waiting,
        "reason": status.reason,
        "message": status.message,
        "cards": [card.wire() for card in status.cards],
        "engines": [engine.wire() for engine in status.engines],
    }
