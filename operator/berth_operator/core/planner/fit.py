"""Does a model fit an accelerator, at which tensor-parallel size, context and batch? Pure.

The smallest legal size is taken that leaves a usable context; where none does, the one with the
longest. What does not fit says by how many bytes, and the nearest changes that would make it fit:
each was calculated through before it is named. Units: bytes on one rank, tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from berth_api.quantity import parse_bytes, parse_millicpu
from berth_api.spec import Spec
from berth_api.status import AdapterSlots, Alternative, Plan
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model import legality
from berth_operator.core.model.adapters import Adapters
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.planner import fixes
from berth_operator.core.planner.alternatives import bounded
from berth_operator.core.planner.attempt import Attempt
from berth_operator.core.planner.case import Case, Learned, fitting, nothing_learned, together
from berth_operator.core.planner.explanation import explain, nearness, smaller, too_much
from berth_operator.core.planner.wishes import Illegal, wishes

__all__ = ["DoesNotFit", "Fits", "Illegal", "Learned", "Verdict", "choose", "plan"]

_GIB: Final = 2**30
# Host memory of a GPU pod beside the weights that pass through the page cache.
GPU_HOST_BYTES: Final = 8 * _GIB


@dataclass(frozen=True)
class Fits:
    plan: Plan
    offer: Offer  # that it is of


@dataclass(frozen=True)
class DoesNotFit:
    """By how many bytes a rank of one node is too small, and what would fit instead.

    `plan` is that of the best size, or of the nodes that could hold it together; its `fits` is
    false, for Berth runs a replica on one node.
    """

    needed_bytes: int
    have_bytes: int
    message: str
    plan: Plan

    @property
    def fixes(self) -> tuple[str, ...]:
        return tuple(self.plan.nearest_fixes)

    @property
    def reason(self) -> str:
        return "MultiNodeUnsupported" if self.plan.pipeline_parallel_size > 1 else "DoesNotFit"


Verdict = Fits | DoesNotFit | Illegal


def plan(
    shape: ModelShape,
    offer: Offer,
    spec: Spec,
    learned: Learned = nothing_learned,
    adapters: Adapters | None = None,
) -> Verdict:
    """The plan of `spec` on `offer`; a value that the user set is honoured or refused."""
    asked = wishes(shape, offer, spec)
    if isinstance(asked, Illegal):
        return asked
    case = Case(shape, offer, spec, asked, learned, adapters)
    found = fitting(case, nodes=1)
    if found is None:
        return _does_not_fit(case)
    if asked.nodes > 1:
        message = f"{asked.nodes} nodes are asked, and one of {offer.profile.name} holds the model"
        return Illegal("spec.parallelism.pipeline", message, "leave it out")
    return Fits(_planned(case, found), offer)


def choose(
    shape: ModelShape,
    offers: Sequence[Offer],
    spec: Spec,
    learned: Learned = nothing_learned,
    adapters: Adapters | None = None,
) -> Verdict:
    """The first offer that fits, else the one that lacks least; the plan names the others tried."""
    refused: list[tuple[Offer, DoesNotFit | Illegal]] = []
    for offer in offers:
        verdict = plan(shape, offer, spec, learned, adapters)
        if isinstance(verdict, Fits):
            return replace(verdict, plan=_after(verdict.plan, refused))
        refused.append((offer, verdict))
    near = [verdict for _, verdict in refused if isinstance(verdict, DoesNotFit)]
    if not near:
        return refused[0][1]
    nearest = min(near, key=lambda one: one.needed_bytes - one.have_bytes)
    others = [pair for pair in refused if pair[1] is not nearest]
    return replace(nearest, plan=_after(nearest.plan, others))


def _after(chosen: Plan, refused: Sequence[tuple[Offer, DoesNotFit | Illegal]]) -> Plan:
    lost = [
        Alternative(accelerator=offer.profile.name, reason=verdict.message)
        for offer, verdict in refused
    ]
    return chosen.model_copy(update={"alternatives": bounded([*lost, *chosen.alternatives])})


def _planned(case: Case, found: Attempt, *, fits: bool = True) -> Plan:
    offer, spec, asked = case.offer, case.spec, case.asked
    context = max(found.context, asked.context.least)
    blocks = found.blocks
    correction = case.learned(offer, found.tensor_parallel, found.batch)
    return Plan(
        accelerator=offer.profile.name,
        engine_profile=offer.engine.name,
        image=spec.runtime.image or offer.engine.image,
        device=offer.engine.device.value,
        fits=fits,
        tensor_parallel_size=found.tensor_parallel,
        pipeline_parallel_size=found.nodes,
        gpus_per_replica=0 if offer.on_cpu else found.tensor_parallel * found.nodes,
        gpu_memory_fraction=None if offer.on_cpu else str(found.fraction),
        dtype=asked.dtype,
        kv_cache_dtype=spec.runtime.kv_cache_dtype.value,
        usable_bytes=found.usable,
        weights_bytes=found.weights,
        activation_bytes=found.activations,
        graph_bytes=found.reserves.graphs,
        overhead_bytes=found.overhead,
        kv_bytes_per_token=found.layout.bytes_per_token,
        kv_cache_bytes=blocks * found.layout.bytes_per_block,
        kv_cache_tokens=_capacity(found, blocks, context),
        max_model_len=context,
        max_concurrency=found.sequences(context),
        max_num_seqs=found.batch.sequences,
        max_num_batched_tokens=found.batch.tokens,
        mm_encoder_tp_mode=_tower_mode(case, found),
        memory_bytes=_host_memory(case, found),
        millicpu=_millicpu(case, found),
        adapter_slots=_slots(case, found),
        explain=explain(case.shape, found, context, case.adapters),
        alternatives=smaller(case, found),
        learned_from=correction.source if correction else None,
        learned_bytes=correction.extra_bytes if correction else None,
        learned_outside_bytes=correction.outside_bytes or None if correction else None,
    )


def _slots(case: Case, found: Attempt) -> AdapterSlots | None:
    if case.adapters is None:
        return None
    return AdapterSlots(
        count=case.adapters.slots,
        max_rank=case.adapters.width,
        modules=list(case.adapters.modules),
        slot_bytes=found.adapters.slots,
        host_bytes=found.adapters.host * found.tensor_parallel,
    )


def _tower_mode(case: Case, found: Attempt) -> str | None:
    """The engine's flag: the vision tower runs whole on each rank where its heads do not divide."""
    whole = legality.vision_data_parallel(case.shape, found.tensor_parallel)
    return "data" if whole else None


def _capacity(found: Attempt, blocks: int, context: int) -> int:
    """Tokens, as the engine counts them: how many full sequences, times their length.

    vllm/v1/core/kv_cache_utils.py, get_kv_cache_capacity, 0.32.
    """
    each = found.layout.blocks_per_sequence(context, found.in_flight)
    return blocks * context // each if each else 0


def _does_not_fit(case: Case) -> DoesNotFit:
    least = case.asked.context.least
    best = max(case.attempts(), key=nearness)
    several = together(case)
    size = f"on each of {best.tensor_parallel} ranks, " if best.tensor_parallel > 1 else ""
    message = size + too_much(best, least)
    if several is not None:
        message += f"; {several.nodes} nodes would hold it, and Berth runs a replica on one node"
    planned = _planned(case, several or best, fits=False)
    named = {"nearest_fixes": list(fixes.nearest(case, best))}
    return DoesNotFit(best.needed(least), best.usable, message, planned.model_copy(update=named))


def _host_memory(case: Case, found: Attempt) -> int:
    if case.spec.resources.memory:
        return parse_bytes(case.spec.resources.memory)
    if case.offer.on_cpu:
        return case.offer.memory_bytes
    return GPU_HOST_BYTES + (found.weights + found.adapters.host) * found.tensor_parallel


def _millicpu(case: Case, found: Attempt) -> int:
    if case.spec.resources.cpu:
        return parse_millicpu(case.spec.resources.cpu)
    each = case.offer.profile.millicpu
    return each if case.offer.on_cpu else each * found.tensor_parallel
