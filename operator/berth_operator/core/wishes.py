"""What the user asked for, checked against the model and the accelerator before any arithmetic.

A value that the user set is honoured or refused here, by its field's name; `auto` becomes the
choices that `core.fit` may try, best first.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from berth_api.types import Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.learned import Correction
from berth_operator.core.model import legality
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.reserves import Batch

_GIB: Final = 2**30

# vLLM's own default share of a GPU (vllm/config/cache.py, 0.32).
DEFAULT_GPU_FRACTION: Final = Decimal("0.92")
FRACTION_STEP: Final = Decimal("0.001")

# vLLM's own default for cards below 70 GiB; it allows 1024 above, and reserves sampler memory for
# all of them (vllm/engine/arg_utils.py, get_batch_defaults, 0.32), which costs more context than
# so many sequences are worth. Two cores batch no more than 64 to advantage.
DEFAULT_SEQUENCES: Final = 256
DEFAULT_SEQUENCES_ON_CPU: Final = 64
# Fewer are tried, by halves, before the model is spread over more cards.
LEAST_AUTO_SEQUENCES: Final = 32
# Tokens in one step, as vLLM has it for an API server on cards below and from 70 GiB.
DEFAULT_BATCHED_TOKENS: Final = 2048
LARGE_CARD_BATCHED_TOKENS: Final = 8192
LARGE_CARD_BYTES: Final = 70 * _GIB

# A context that a person would call usable: less than this, and auto spreads the model over more
# cards, or batches less; where nothing reaches it, the longest is taken.
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
    sizes = _sizes(shape, offer, spec)
    if isinstance(sizes, Illegal):
        return sizes
    batches = _batches(offer, spec)
    if isinstance(batches, Illegal):
        return batches
    context = _context(shape, spec)
    if isinstance(context, Illegal):
        return context
    dtype = served_dtype(shape, offer, spec)
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
    if not learned.outside or not asked.shrinkable or offer.on_cpu:
        return replace(asked, context=context), learned.extra_bytes
    left = asked.fraction - Decimal(learned.extra_bytes) / offer.memory_bytes
    share = max(FRACTION_STEP, left.quantize(FRACTION_STEP, rounding=ROUND_FLOOR))
    return replace(asked, context=context, fraction=share), 0


def served_dtype(shape: ModelShape, offer: Offer, spec: Spec) -> str:
    """The user's, else the engine build's, else the checkpoint's.

    A float32 checkpoint is served as bfloat16, as vLLM's own `auto` has it.
    """
    for named in (spec.runtime.dtype.value, offer.engine.dtype.value):
        if named != "auto":
            return named
    return shape.dtype if shape.dtype in ("bfloat16", "float16") else "bfloat16"


def fraction(offer: Offer, spec: Spec) -> Decimal:
    """Of a whole card; tenants of one card share vLLM's default between them."""
    asked = spec.memory.gpu_memory_fraction
    if asked != "auto":
        return Decimal(asked)
    share = DEFAULT_GPU_FRACTION / offer.tenants
    return share.quantize(FRACTION_STEP, rounding=ROUND_FLOOR) if offer.tenants > 1 else share


def _sizes(shape: ModelShape, offer: Offer, spec: Spec) -> tuple[int, ...] | Illegal:
    asked = _asked_size(offer, spec)
    if isinstance(asked, Illegal):
        return asked
    if asked is None:
        limit = 1 if offer.sliced or offer.on_cpu else offer.cards_per_node
        return _legal(shape, offer, limit) or _unservable(shape, offer)
    field, size = asked
    limit = size if offer.on_cpu else 1 if offer.sliced else offer.cards_per_node
    if size > limit:
        return _too_many(field, size, limit, offer)
    broken = illegal(shape, offer, size)
    if broken:
        legal = ", ".join(str(one) for one in _legal(shape, offer, limit))
        return Illegal(
            field,
            f"{size}: " + "; ".join(broken),
            f"use one of {legal}, or auto",
            reason="TensorParallelInvalid",
        )
    return (size,)


def illegal(shape: ModelShape, offer: Offer, size: int) -> tuple[str, ...]:
    return legality.illegal(shape, size, fp8_units=offer.fp8_units)


def _legal(shape: ModelShape, offer: Offer, limit: int) -> tuple[int, ...]:
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


def _too_many(field: str, size: int, limit: int, offer: Offer) -> Illegal:
    what = "slices cannot be joined" if offer.sliced else f"a node has {limit}"
    return Illegal(
        field,
        f"{size} GPUs on one node are asked, and of {offer.profile.name} {what}",
        f"set it to at most {limit}",
        reason="TensorParallelInvalid",
    )


def _batches(offer: Offer, spec: Spec) -> tuple[Batch, ...] | Illegal:
    """The engine wants at least one token in a step for each sequence."""
    asked_sequences, asked_tokens = spec.runtime.max_num_seqs, spec.runtime.max_num_batched_tokens
    tokens = _default_tokens(offer) if asked_tokens == "auto" else asked_tokens
    if asked_sequences == "auto":
        most = min(DEFAULT_SEQUENCES_ON_CPU if offer.on_cpu else DEFAULT_SEQUENCES, tokens)
        counts = [most]
        while not offer.on_cpu and counts[-1] // 2 >= LEAST_AUTO_SEQUENCES:
            counts.append(counts[-1] // 2)
        return tuple(Batch(count, tokens) for count in counts)
    if asked_tokens == "auto":
        return (Batch(asked_sequences, max(tokens, asked_sequences)),)
    if asked_tokens < asked_sequences:
        return Illegal(
            "spec.runtime.maxNumBatchedTokens",
            f"{asked_tokens} tokens in a step are fewer than maxNumSeqs {asked_sequences}",
            f"set it to at least {asked_sequences}, or lower maxNumSeqs",
        )
    return (Batch(asked_sequences, asked_tokens),)


def _default_tokens(offer: Offer) -> int:
    large = not offer.on_cpu and offer.memory_bytes >= LARGE_CARD_BYTES
    return LARGE_CARD_BATCHED_TOKENS if large else DEFAULT_BATCHED_TOKENS


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
