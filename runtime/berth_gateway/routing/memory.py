"""What a model takes of one card: planned, and measured where the engine has told.

A card is one GPU, or a pod where there is none. The engine is given a share of it (`usable`); what
is beyond the share stays for others.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from berth_api.status import Memories, Plan


class Use(str, Enum):
    """What memory is taken for."""

    WEIGHTS = "weights"
    KV_CACHE = "kvCache"
    ACTIVATIONS = "activations"
    GRAPHS = "graphs"
    OVERHEAD = "overhead"  # driver context, communication buffers, processes


class Part(NamedTuple):
    """Bytes of one card. None: the engine has not measured it, or measures no such thing."""

    use: Use
    planned: int
    measured: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one replica's cards, which are alike."""

    hardware: str  # the accelerator profile's name
    cards: int  # of one replica
    total: int  # bytes of a card
    usable: int  # bytes of it that the engine shares out
    parts: tuple[Part, ...]
    resident: int | None = None  # bytes that the pod's processes hold, without a GPU


def memory(plan: Plan) -> Memory:
    """Of a GPU a plan is for one; of a pod without, for one of its ranks."""
    ranks = plan.tensor_parallel_size if plan.gpu_memory_fraction is None else 1
    measured = plan.measured or Memories()
    return Memory(
        hardware=plan.accelerator,
        cards=max(plan.gpus_per_replica, 1),
        total=_card_bytes(plan) * ranks,
        usable=plan.usable_bytes * ranks,
        parts=tuple(_of_ranks(part, ranks) for part in _parts(plan, measured)),
        resident=measured.resident_bytes if plan.gpu_memory_fraction is None else None,
    )


def _card_bytes(plan: Plan) -> int:
    if plan.gpu_memory_fraction is None:
        return plan.usable_bytes
    return int(plan.usable_bytes / Decimal(plan.gpu_memory_fraction))


def _parts(plan: Plan, measured: Memories) -> tuple[Part, ...]:
    return (
        Part(Use.WEIGHTS, plan.weights_bytes, measured.weights_bytes),
        Part(Use.KV_CACHE, plan.kv_cache_bytes, measured.kv_cache_bytes),
        Part(Use.ACTIVATIONS, plan.activation_bytes, measured.activation_bytes),
        Part(Use.GRAPHS, plan.graph_bytes, measured.graph_bytes),
        Part(Use.OVERHEAD, plan.overhead_bytes, None),
    )


def _of_ranks(part: Part, ranks: int) -> Part:
    measured = None if part.measured is None else part.measured * ranks
    return Part(part.use, part.planned * ranks, measured)
