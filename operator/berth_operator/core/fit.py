"""Does a model fit an accelerator, at which tensor-parallel size, context and batch? Pure.

The smallest legal size is taken that leaves a usable context; where none does, the one with the
longest. What does not fit says by how many bytes, and the nearest changes that would make it fit:
each was calculated through before it is named. Units: bytes on one rank, tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from berth_api.quantity import format_bytes, parse_bytes, parse_millicpu
from berth_api.types import Alternative, KvCacheDType, Plan, Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.attempt import Attempt, attempt
from berth_operator.core.explanation import explain
from berth_operator.core.learned import Correction
from berth_operator.core.model import legality
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.wishes import Illegal, Wishes, corrected, illegal, wishes

__all__ = ["DoesNotFit", "Fits", "Illegal", "Verdict", "choose", "plan"]

_GIB: Final = 2**30
# Host memory of a GPU pod beside the weights that pass through the page cache.
GPU_HOST_BYTES: Final = 8 * _GIB
# More nodes than this for one replica is a mistake in the question.
MOST_NODES: Final = 16
# Nodes with more cards than this are not for sale.
MOST_CARDS: Final = 16

Learned = Callable[[Offer, int], Correction | None]
"""What was measured of this model on an offer at a tensor-parallel size."""


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


def nothing_learned(_: Offer, __: int) -> Correction | None:
    return None


def plan(
    shape: ModelShape, offer: Offer, spec: Spec, learned: Learned = nothing_learned
) -> Verdict:
    """The plan of `spec` on `offer`; a value that the user set is honoured or refused."""
    asked = wishes(shape, offer, spec)
    if isinstance(asked, Illegal):
        return asked
    case = _Case(shape, offer, spec, asked, learned)
    found = _fitting(case, asked.nodes)
    if found is not None and found.nodes == 1:
        return Fits(_planned(case, found), offer)
    return _does_not_fit(case)


def choose(
    shape: ModelShape, offers: Sequence[Offer], spec: Spec, learned: Learned = nothing_learned
) -> Verdict:
    """The first offer that fits, else the one that lacks least; the plan names the others tried."""
    refused: list[tuple[Offer, DoesNotFit | Illegal]] = []
    for offer in offers:
        verdict = plan(shape, offer, spec, learned)
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
    return chosen.model_copy(update={"alternatives": [*lost, *chosen.alternatives]})


@dataclass(frozen=True)
class _Case:
    """One question: this model, on this offer, as asked."""

    shape: ModelShape
    offer: Offer
    spec: Spec
    asked: Wishes
    learned: Learned

    def attempts(self, nodes: int | None = None) -> Iterator[Attempt]:
        """Smallest size first, largest batch first."""
        for size in self.asked.sizes:
            learned = self.learned(self.offer, size)
            asked, learned_bytes = corrected(self.asked, self.offer, learned)
            for batch in asked.batches:
                yield attempt(
                    self.shape,
                    self.offer,
                    self.spec,
                    asked,
                    tensor_parallel=size,
                    nodes=nodes or asked.nodes,
                    batch=batch,
                    learned_bytes=learned_bytes,
                )


def _fitting(case: _Case, nodes: int) -> Attempt | None:
    """The first size with a usable context, else the longest that is not too short."""
    tried = list(case.attempts(nodes))
    context = case.asked.context
    usable = next((one for one in tried if one.context >= context.usable), None)
    longest = max(tried, key=lambda one: one.context)
    return usable or (longest if longest.context >= context.least else None)


def _together(case: _Case) -> Attempt | None:
    """On as few whole nodes as it takes; slices and the CPU are never joined."""
    if case.offer.cards_per_node < 2 or case.offer.sliced or len(case.asked.sizes) == 1:  # noqa: PLR2004
        return None
    whole = replace(case, asked=replace(case.asked, sizes=case.asked.sizes[-1:]))
    most = min(MOST_NODES, case.shape.layers)
    found = (_fitting(whole, nodes) for nodes in range(2, most + 1))
    return next((one for one in found if one is not None), None)


def _planned(case: _Case, found: Attempt, *, fits: bool = True) -> Plan:
    offer, spec, asked = case.offer, case.spec, case.asked
    context = max(found.context, asked.context.least)
    blocks = found.blocks
    correction = case.learned(offer, found.tensor_parallel)
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
        explain=explain(case.shape, found, context),
        alternatives=_smaller(case, found),
        learned_from=correction.source if correction else None,
        learned_bytes=correction.extra_bytes if correction else None,
    )


def _tower_mode(case: _Case, found: Attempt) -> str | None:
    """The engine's flag: the vision tower runs whole on each rank where its heads do not divide."""
    whole = legality.vision_data_parallel(case.shape, found.tensor_parallel)
    return "data" if whole else None


def _capacity(found: Attempt, blocks: int, context: int) -> int:
    """Tokens, as the engine counts them: how many full sequences, times their length.

    vllm/v1/core/kv_cache_utils.py, get_kv_cache_capacity, 0.32.
    """
    each = found.layout.blocks_per_sequence(context, found.in_flight)
    return blocks * context // each if each else 0


def _smaller(case: _Case, chosen: Attempt) -> list[Alternative]:
    """Each smaller size, legal or not, and why it is not the one."""
    rejected = []
    attempts = list(case.attempts(chosen.nodes)) if chosen.tensor_parallel > 1 else []
    for size in range(1, chosen.tensor_parallel):
        tried = [one for one in attempts if one.tensor_parallel == size]
        broken = illegal(case.shape, case.offer, size)
        if tried or broken:
            reason = _why_not(case, tried) if tried else "; ".join(broken)
            rejected.append(
                Alternative(
                    accelerator=case.offer.profile.name, tensor_parallel_size=size, reason=reason
                )
            )
    return rejected


def _why_not(case: _Case, tried: Sequence[Attempt]) -> str:
    best = max(tried, key=_nearness)
    if best.context < case.asked.context.least:
        return _too_much(best, case.asked.context.least)
    return f"leaves a context of {best.context} tokens"


def _nearness(tried: Attempt) -> tuple[int, int]:
    return tried.context, tried.usable - tried.spent


def _too_much(tried: Attempt, context: int) -> str:
    needed = tried.needed(context)
    weights, engine = format_bytes(tried.weights), format_bytes(tried.spent - tried.weights)
    return (
        f"{weights} of weights, {engine} for the engine and a context of {context} tokens need "
        f"{format_bytes(needed)} and {tried.offer.profile.name} has {format_bytes(tried.usable)}: "
        f"{format_bytes(needed - tried.usable)} too much"
    )


def _does_not_fit(case: _Case) -> DoesNotFit:
    least = case.asked.context.least
    best = max(case.attempts(nodes=1), key=_nearness)
    together = _together(case) if case.asked.nodes == 1 else _fitting(case, case.asked.nodes)
    size = f"on each of {best.tensor_parallel} ranks, " if best.tensor_parallel > 1 else ""
    message = size + _too_much(best, least)
    if together is not None:
        message += f"; {together.nodes} nodes would hold it, and Berth runs a replica on one node"
    planned = _planned(case, together or best, fits=False)
    fixes = {"nearest_fixes": list(_fixes(case, best))}
    return DoesNotFit(best.needed(least), best.usable, message, planned.model_copy(update=fixes))


def _fixes(case: _Case, best: Attempt) -> Iterator[str]:
    """The user's own changes first, then the cluster's, then the model's."""
    if best.context >= 1 and case.spec.runtime.max_model_len != "auto":
        yield f"set spec.runtime.maxModelLen to at most {best.context}"
    for text, changed in _changes(case.spec):
        verdict = _retry(case, changed)
        if verdict is not None:
            yield text.format(
                size=verdict.tensor_parallel,
                seqs=verdict.batch.sequences,
                context=verdict.context,
            )
    needed = best.needed(case.asked.context.least)
    if case.offer.on_cpu:
        yield f"set spec.resources.memory to at least {format_bytes(needed * best.tensor_parallel)}"
    else:
        yield from _more_cards(case)
        card = int(needed / case.asked.fraction)
        yield f"choose cards of which the engine sees at least {format_bytes(card)}"
    yield "choose a smaller model, or one quantised to fewer bits"


def _more_cards(case: _Case) -> Iterator[str]:
    """Nodes with more of the same card."""
    offer = replace(case.offer, cards_per_node=MOST_CARDS)
    asked = None if offer.sliced else wishes(case.shape, offer, case.spec)
    if asked is None or isinstance(asked, Illegal):
        return
    again = replace(case, offer=offer, asked=asked)
    fitting = (one for one in again.attempts() if one.context >= asked.context.least)
    found = next(fitting, None)
    if found is not None and found.tensor_parallel > case.offer.cards_per_node:
        yield f"use nodes with {found.tensor_parallel} of these cards"


def _changes(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """One change each to what the user set, or left alone, in the order of least harm."""
    runtime = spec.runtime
    if spec.parallelism.tensor != "auto":
        parallelism = spec.parallelism.model_copy(update={"tensor": "auto"})
        changed = spec.model_copy(update={"parallelism": parallelism})
        yield "set spec.parallelism.tensor to {size}, or to auto", changed
    if spec.memory.gpu_memory_fraction != "auto":
        memory = spec.memory.model_copy(update={"gpu_memory_fraction": "auto"})
        yield (
            "set spec.memory.gpuMemoryFraction to auto",
            spec.model_copy(update={"memory": memory}),
        )
    if runtime.max_num_seqs != "auto":
        text = "set spec.runtime.maxNumSeqs to {seqs}, or to auto"
        yield text, _with_runtime(spec, max_num_seqs="auto")
    if runtime.max_num_batched_tokens != "auto":
        text = "set spec.runtime.maxNumBatchedTokens to auto"
        yield text, _with_runtime(spec, max_num_batched_tokens="auto")
    if runtime.min_concurrency > 1:
        yield "set spec.runtime.minConcurrency to 1", _with_runtime(spec, min_concurrency=1)
    if runtime.kv_cache_dtype is KvCacheDType.AUTO:
        text = "set spec.runtime.kvCacheDtype to fp8 (a context of {context} tokens)"
        yield text, _with_runtime(spec, kv_cache_dtype=KvCacheDType.FP8)


def _with_runtime(spec: Spec, **changes: object) -> Spec:
    return spec.model_copy(update={"runtime": spec.runtime.model_copy(update=changes)})


def _retry(case: _Case, changed: Spec) -> Attempt | None:
    """How it would fit one node with `changed`; None if it would not."""
    offer = replace(case.offer, gpus=None) if changed.parallelism.tensor == "auto" else case.offer
    asked = wishes(case.shape, offer, changed)
    if isinstance(asked, Illegal):
        return None
    again = replace(case, offer=offer, spec=changed, asked=asked)
    fitting = (one for one in again.attempts() if one.context >= asked.context.least)
    return next(fitting, None)


def _host_memory(case: _Case, found: Attempt) -> int:
    if case.spec.resources.memory:
        return parse_bytes(case.spec.resources.memory)
    if case.offer.on_cpu:
        return case.offer.memory_bytes
    return GPU_HOST_BYTES + found.weights * found.tensor_parallel


def _millicpu(case: _Case, found: Attempt) -> int:
    if case.spec.resources.cpu:
        return parse_millicpu(case.spec.resources.cpu)
    each = case.offer.profile.millicpu
    return each if case.offer.on_cpu else each * found.tensor_parallel
