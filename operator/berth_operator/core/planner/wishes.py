"""What the user asked for, checked against the model and the accelerator before any arithmetic.

A value that the user set is honoured or refused here, by its field's name; `auto` becomes the
choices that `fit` may try, best first.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from berth_api.quantity import mebibytes, parse_bytes
from berth_api.spec import KvCacheDType, Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model import legality
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.planner.learned import Correction
from berth_operator.core.planner.reserves import CONTEXT_BYTES, CPU_PROCESS_BYTES, Batch

_GIB: Final = 2**30

# vLLM's own default share of a GPU (vllm/config/cache.py, 0.32).
DEFAULT_GPU_FRACTION: Final = Decimal("0.92")
FRACTION_STEP: Final = Decimal("0.001")

# vLLM's own default for cards below 70 GiB; it allows 1024 above, and reserves sampler memory for
# all of them (vllm/engine/arg_utils.py, get_batch_defaults, 0.32), which costs more context than
# so many sequences are worth. Two cores batch no more than 64 to advantage.
DEFAULT_SEQUENCES: Final = 256
DEFAULT_SEQUENCES_ON_CPU: Final = 64
# Fewer are tried, by halves, where that makes the context longer: a cache that is short of tokens
# has no use for many sequences.
LEAST_AUTO_SEQUENCES: Final = 64
# Tokens in one step, as vLLM has it for an API server on cards below and from 70 GiB.
DEFAULT_BATCHED_TOKENS: Final = 2048
LARGE_CARD_BATCHED_TOKENS: Final = 8192
LARGE_CARD_BYTES: Final = 70 * _GIB

# A context that a person would call usable: less than this, and auto spreads the model over more
# cards; where no size reaches it, the longest is taken.
USABLE_CONTEXT_TOKENS: Final = 16_384
# A context shorter than this, chosen by auto, would surprise more than a refusal.
LEAST_AUTO_CONTEXT_TOKENS: Final = 2048


@dataclass(frozen=True)
class Illegal:
    """A value that the user set and the model or accelerator cannot have."""

    field: str
    message: str
    fix: str
    reason: str = "InvalidSpec"


@dataclass(frozen=True)
class Context:
    """Tokens of one sequence."""

    least: int  # with less it does not fit
    usable: int  # with less another size is tried
    longest: int


@dataclass(frozen=True)
class Wishes:
    sizes: tuple[int, ...]  # tensor-parallel, smallest first
    nodes: int  # pipeline-parallel
    dtype: str
    kv_dtype: str  # of the cache's elements
    fraction: Decimal  # of a card for this engine
    shrinkable: bool  # whether the user left the fraction to the planner
    batches: tuple[Batch, ...]  # largest first
    context: Context
    concurrency: int  # sequences of that context


def wishes(shape: ModelShape, offer: Offer, spec: Spec) -> Wishes | Illegal:
    dtype = served_dtype(shape, offer, spec)
    refused = _refused(offer, spec, dtype)
    if refused is not None:
        return refused
    sizes = _sizes(shape, offer, spec)
    if isinstance(sizes, Illegal):
        return sizes
    batches = _batches(offer, spec)
    if isinstance(batches, Illegal):
        return batches
    context = _context(shape, spec)
    if isinstance(context, Illegal):
        return context
    asked_kv = spec.runtime.kv_cache_dtype.value
    pipeline = spec.parallelism.pipeline
    return Wishes(
        sizes=sizes,
        nodes=1 if pipeline == "auto" else pipeline,
        dtype=dtype,
        kv_dtype=dtype if asked_kv == "auto" else asked_kv,
        fraction=fraction(offer, spec),
        shrinkable=spec.memory.gpu_memory_fraction == "auto",
        batches=batches,
        context=context,
        concurrency=spec.runtime.min_concurrency,
    )


def corrected(asked: Wishes, offer: Offer, learned: Correction | None) -> tuple[Wishes, int]:
    """What was learned, in the share and the context; and in bytes that are within the share.

    Bytes that the engine takes beside its share make the share smaller, unless the user set it.
    """
    if learned is None:
        return asked, 0
    most = learned.longest_tokens or asked.context.longest
    context = replace(asked.context, longest=min(asked.context.longest, most))
    outside = max(0, learned.outside_bytes)
    if not outside or not asked.shrinkable or offer.on_cpu:
        return replace(asked, context=context), learned.extra_bytes
    left = asked.fraction - Decimal(outside) / offer.memory_bytes
    share = max(FRACTION_STEP, _floor(left))
    return replace(asked, context=context, fraction=share), learned.extra_bytes


def served_dtype(shape: ModelShape, offer: Offer, spec: Spec) -> str:
    """The user's, else the engine build's, else the checkpoint's.

    A float32 checkpoint is served as bfloat16, as vLLM's own `auto` has it.
    """
    for named in (spec.runtime.dtype.value, offer.engine.dtype.value):
        if named != "auto":
            return named
    half = shape.dtype if shape.dtype in ("bfloat16", "float16") else "bfloat16"
    return half if offer.bfloat16_units else "float16"


def _refused(offer: Offer, spec: Spec, dtype: str) -> Illegal | None:
    """What the card cannot do, whatever the model."""
    name = offer.profile.name
    if dtype == "bfloat16" and not offer.bfloat16_units:
        message = f"bfloat16 is asked, and {name} computes it from capability 8.0 on"
        return Illegal("spec.runtime.dtype", message, "set it to float16, or to auto")
    if spec.runtime.kv_cache_dtype is KvCacheDType.FP8 and not offer.fp8_units:
        message = f"fp8 is asked, and {name} computes it from capability 8.9 on"
        return Illegal("spec.runtime.kvCacheDtype", message, "set it to auto")
    host = spec.resources.memory
    if host and not offer.on_cpu and parse_bytes(host) < CPU_PROCESS_BYTES:
        message = f"{host} is asked, and the engine's processes take {mebibytes(CPU_PROCESS_BYTES)}"
        return Illegal("spec.resources.memory", message, "set it to more, or leave it out")
    return None if offer.on_cpu else _too_much(offer, spec)


def _too_much(offer: Offer, spec: Spec) -> Illegal | None:
    """More of a card than it has, or than is left beside its other tenants."""
    share, most = fraction(offer, spec), _most(offer)
    asked = f"{share} of {offer.profile.name} is asked"
    if share > most:
        why, fix = f"the driver leaves {most} of it free", f"set it to at most {most}"
        return Illegal("spec.memory.gpuMemoryFraction", f"{asked}, and {why}", fix)
    part = max(FRACTION_STEP, _floor(most / offer.tenants))
    if share > part:
        why = f"{offer.tenants} pods share each of its cards, so that {part} is each one's part"
        fix = f"set it to at most {part} or to auto, or choose cards that are not shared"
        return Illegal("spec.memory.gpuMemoryFraction", f"{asked}, and {why}", fix)
    return None


def fraction(offer: Offer, spec: Spec) -> Decimal:
    """Of a whole card; tenants of one card share vLLM's default between them."""
    asked = spec.memory.gpu_memory_fraction
    if asked != "auto":
        return Decimal(asked)
    share = min(DEFAULT_GPU_FRACTION, _most(offer)) / offer.tenants
    if offer.tenants == 1:
        return share
    return max(FRACTION_STEP, _floor(share))


def _floor(share: Decimal) -> Decimal:
    return share.quantize(FRACTION_STEP, rounding=ROUND_FLOOR)


def _most(offer: Offer) -> Decimal:
    """With more of a card the engine does not start: its own context is there before it looks.

    vllm/v1/worker/utils.py, request_memory, 0.32.
    """
    free = (offer.memory_bytes - CONTEXT_BYTES) / Decimal(max(1, offer.memory_bytes))
    return max(FRACTION_STEP, _floor(free))


def _sizes(shape: ModelShape, offer: Offer, spec: Spec) -> tuple[int, ...] | Illegal:
    asked = _asked_size(offer, spec)
    if isinstance(asked, Illegal):
        return asked
    if asked is None:
        limit = 1 if offer.sliced or offer.on_cpu else offer.cards_per_node
        return legal(shape, offer, limit) or _unservable(shape, offer)
    field, size = asked
    limit = size if offer.on_cpu else 1 if offer.sliced else offer.cards_per_node
    broken = _too_many(size, limit, offer) if size > limit else illegal(shape, offer, size)
    if not broken:
        return (size,)
    choices = legal(shape, offer, limit)
    return (
        Illegal(
            field,
            f"{size}: " + "; ".join(broken),
            f"use one of {', '.join(map(str, choices))}, or auto",
            reason="TensorParallelInvalid",
        )
        if choices
        else _unservable(shape, offer)
    )


def illegal(shape: ModelShape, offer: Offer, size: int) -> tuple[str, ...]:
    return legality.illegal(shape, size, fp8_units=offer.fp8_units)


def legal(shape: ModelShape, offer: Offer, limit: int) -> tuple[int, ...]:
    return legality.legal_sizes(shape, limit, fp8_units=offer.fp8_units)


def _unservable(shape: ModelShape, offer: Offer) -> Illegal:
    return Illegal(
        "spec.model.source",
        f"the engine refuses {shape.architecture}: " + "; ".join(illegal(shape, offer, 1)),
        "choose another checkpoint of the model",
        reason="UnsupportedArchitecture",
    )


def _asked_size(offer: Offer, spec: Spec) -> tuple[str, int] | Illegal | None:
    """The field that names a size, and the size; both fields must agree."""
    tensor = spec.parallelism.tensor
    by_entry = None if offer.gpus is None else f"spec.accelerators[{offer.entry}].gpusPerReplica"
    if tensor == "auto":
        return None if by_entry is None or offer.gpus is None else (by_entry, offer.gpus)
    if by_entry and offer.gpus != tensor:
        return Illegal(
            by_entry,
            f"{offer.gpus} GPUs are asked, and spec.parallelism.tensor is {tensor}",
            "leave out one of them, or make them equal",
        )
    return "spec.parallelism.tensor", tensor


def _too_many(size: int, limit: int, offer: Offer) -> tuple[str, ...]:
    have = "slices cannot be joined" if offer.sliced else f"a node has {limit}"
    return (f"{size} GPUs on one node are asked, and of {offer.profile.name} {have}",)


def _batches(offer: Offer, spec: Spec) -> tuple[Batch, ...] | Illegal:
    """What may be tried, largest first.

    The engine wants at least one token in a step for each sequence, and a sequence that is not in
    the batch does not run beside the others.
    """
    asked, asked_tokens = spec.runtime.max_num_seqs, spec.runtime.max_num_batched_tokens
    together = spec.runtime.min_concurrency
    if asked != "auto" and asked < together:
        return Illegal(
            "spec.runtime.minConcurrency",
            f"{together} sequences at once are asked, and maxNumSeqs is {asked}",
            f"set it to at most {asked}, or raise maxNumSeqs",
        )
    least = max(together, 1 if asked == "auto" else asked)
    if asked_tokens != "auto" and asked_tokens < least:
        return Illegal(
            "spec.runtime.maxNumBatchedTokens",
            f"{asked_tokens} tokens in a step are fewer than {least} sequences",
            f"set it to at least {least}, or lower maxNumSeqs and minConcurrency",
        )
    steps = _default_tokens(offer, least) if asked_tokens == "auto" else (asked_tokens,)
    return tuple(
        Batch(sequences, tokens)
        for tokens in steps
        for sequences in (_halves(offer, together, tokens) if asked == "auto" else (asked,))
    )


def _halves(offer: Offer, least: int, tokens: int) -> list[int]:
    """Sequences to try: the default, then half of it and so on; never fewer than `least`."""
    most = max(least, DEFAULT_SEQUENCES_ON_CPU if offer.on_cpu else DEFAULT_SEQUENCES)
    counts = [min(most, tokens)]
    floor = max(least, LEAST_AUTO_SEQUENCES)
    while not offer.on_cpu and counts[-1] // 2 >= floor:
        counts.append(counts[-1] // 2)
    return counts


def _default_tokens(offer: Offer, least: int) -> tuple[int, ...]:
    """A small card's number is tried on a large one too, so that more memory is never less."""
    large = not offer.on_cpu and offer.memory_bytes >= LARGE_CARD_BYTES
    small = max(least, DEFAULT_BATCHED_TOKENS)
    return (max(least, LARGE_CARD_BATCHED_TOKENS), small) if large else (small,)


def _context(shape: ModelShape, spec: Spec) -> Context | Illegal:
    asked, most = spec.runtime.max_model_len, shape.max_position
    if asked == "auto":
        return Context(
            min(most, LEAST_AUTO_CONTEXT_TOKENS), min(most, USABLE_CONTEXT_TOKENS), longest=most
        )
    if asked > most:
        return Illegal(
            "spec.runtime.maxModelLen",
            f"{asked} tokens are asked, and the model has {most} positions",
            f"set it to at most {most}, or to auto",
        )
    return Context(asked, asked, asked)
