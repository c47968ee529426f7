"""Does a model fit an accelerator, and with what context, batch and KV cache? Pure arithmetic.

Memory on one rank is `usable = weights + activations + fixed + KV cache`. Weights and KV bytes
are exact, from the safetensors headers and the config. The rest are reserves with a source.
Units: bytes and tokens; a rank is one GPU, or the whole pod on CPU.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from berth_api.quantity import format_bytes, parse_bytes, parse_millicpu
from berth_api.types import Plan, Spec
from berth_operator.core.shape import DTYPE_BYTES, ModelShape
from berth_operator.settings import AcceleratorProfile, Device, EngineProfile

_MIB: Final = 2**20
_GIB: Final = 2**30

# vLLM's default share of a GPU (vllm/config/cache.py, 0.32).
DEFAULT_GPU_FRACTION: Final = Decimal("0.92")
# CUDA context, NCCL buffers and allocator slack: 0.13 GiB on one GPU, 0.54 on two (H100 rows of
# llm-d-planner's table), rounded up.
NON_TORCH_BYTES: Final = 600 * _MIB
# Graph capture: 0.39 GiB at most in the same rows.
GRAPH_BYTES: Final = 512 * _MIB
# The profile run's peak is the sampler over max_num_seqs rows of float32 logits. Peak divided by
# one such matrix is 9.63, 9.73 and 9.72 in those rows, whatever the tensor-parallel size.
SAMPLER_LOGIT_COPIES: Final = Decimal("9.75")
_LOGIT_BYTES: Final = 4
# The engine's three processes on CPU without weights, activations and KV cache: 1.4 GiB where they
# share their imports, 2.0 GiB where each has its own (proportional set sizes, vLLM 0.32).
CPU_PROCESS_BYTES: Final = 2 * _GIB
# Host memory of a GPU pod beside the weights that pass through the page cache.
GPU_HOST_BYTES: Final = 8 * _GIB

KV_BLOCK_TOKENS: Final = {Device.CUDA: 16, Device.ROCM: 16, Device.CPU: 128}
# What auto means when memory allows: vLLM's own defaults on a GPU, and on CPU no more than two
# cores can batch to advantage.
DEFAULT_MAX_NUM_SEQS: Final = {Device.CUDA: 256, Device.ROCM: 256, Device.CPU: 64}
DEFAULT_BATCHED_TOKENS: Final = {Device.CUDA: 8192, Device.ROCM: 8192, Device.CPU: 2048}
# A context shorter than this, chosen by auto, would surprise more than a refusal.
MIN_AUTO_CONTEXT_TOKENS: Final = 2048


@dataclass(frozen=True)
class Offer:
    """One accelerator profile as this cluster has it."""

    profile: AcceleratorProfile
    engine: EngineProfile
    memory_bytes: int  # per card, or per pod on CPU
    cards_per_node: int  # 0 on CPU


@dataclass(frozen=True)
class Fits:
    plan: Plan


@dataclass(frozen=True)
class DoesNotFit:
    """By how many bytes it does not fit one rank, and the nearest fixes."""

    accelerator: str
    needed_bytes: int
    have_bytes: int
    what: str
    fixes: tuple[str, ...]

    @property
    def message(self) -> str:
        return (
            f"{self.what} needs {format_bytes(self.needed_bytes)} and {self.accelerator} has "
            f"{format_bytes(self.have_bytes)}: {format_bytes(self.needed_bytes - self.have_bytes)}"
            " too much"
        )


@dataclass(frozen=True)
class Illegal:
    """A value that the user set and the model or accelerator cannot have."""

    field: str
    message: str
    fix: str
    reason: str = "InvalidSpec"


Verdict = Fits | DoesNotFit | Illegal


@dataclass(frozen=True)
class _Budget:
    """Memory of one rank, spent in order; `left` is what the KV cache may take."""

    usable: int
    weights: int
    activations: int
    fixed: int

    @property
    def left(self) -> int:
        return self.usable - self.weights - self.activations - self.fixed

    @property
    def spent(self) -> int:
        return self.weights + self.activations + self.fixed


def plan(shape: ModelShape, offer: Offer, spec: Spec) -> Verdict:
    """The plan of `spec` on `offer`; a value that the user set is honoured or refused."""
    tensor_parallel = _tensor_parallel(shape, offer, spec)
    if isinstance(tensor_parallel, Illegal):
        return tensor_parallel
    dtype = _dtype(shape, offer, spec)
    kv_dtype = dtype if spec.runtime.kv_cache_dtype.value == "auto" else "fp8"
    batch = _batch(offer, spec)
    if isinstance(batch, Illegal):
        return batch
    seqs, batched = batch
    budget = _Budget(
        usable=_usable_bytes(offer, spec),
        weights=-(-shape.weights_bytes(dtype) // tensor_parallel),
        activations=activation_bytes(shape, dtype, seqs, batched, tensor_parallel),
        fixed=_fixed_bytes(offer),
    )
    per_token = shape.kv_bytes_per_token(kv_dtype, tensor_parallel)
    context = _context(shape, offer, spec, budget, per_token)
    if not isinstance(context, int):
        return context
    tokens = _whole_blocks(budget.left // per_token, offer)
    return Fits(
        Plan(
            accelerator=offer.profile.name,
            engine_profile=offer.engine.name,
            image=spec.runtime.image or offer.engine.image,
            device=offer.engine.device.value,
            tensor_parallel=tensor_parallel,
            gpus_per_replica=tensor_parallel if offer.cards_per_node else 0,
            gpu_memory_fraction=str(_fraction(spec)) if offer.cards_per_node else None,
            dtype=dtype,
            kv_cache_dtype=spec.runtime.kv_cache_dtype.value,
            weights_bytes=budget.weights,
            activation_bytes=budget.activations,
            kv_bytes_per_token=per_token,
            kv_cache_bytes=tokens * per_token,
            kv_cache_tokens=tokens,
            max_model_len=context,
            max_num_seqs=seqs,
            max_num_batched_tokens=batched,
            memory_bytes=_host_memory(offer, spec, shape.weights_bytes(dtype)),
            millicpu=_millicpu(offer, spec, tensor_parallel),
            explain=_explain(
                shape, offer, budget, per_token=per_token, tokens=tokens, context=context
            ),
        )
    )


def choose(shape: ModelShape, offers: tuple[Offer, ...], spec: Spec) -> Verdict:
    """The first offer that fits, else what the first one said."""
    verdicts = [plan(shape, offer, spec) for offer in offers]
    return next((v for v in verdicts if isinstance(v, Fits)), verdicts[0])


def activation_bytes(
    shape: ModelShape, dtype: str, seqs: int, batched_tokens: int, tensor_parallel: int
) -> int:
    """Peak of the engine's profile run on one rank: its sampler or its widest layer."""
    sampler = int(SAMPLER_LOGIT_COPIES * seqs * shape.vocabulary * _LOGIT_BYTES)
    # Residual, normed input, attention output and the fused gate and up projections.
    width = 4 * shape.hidden + 3 * -(-shape.intermediate // tensor_parallel)
    return max(sampler, batched_tokens * width * DTYPE_BYTES[dtype])


def _tensor_parallel(shape: ModelShape, offer: Offer, spec: Spec) -> int | Illegal:
    field = "spec.parallelism.tensor"
    asked = spec.parallelism.tensor
    if asked == "auto" and spec.accelerators:
        field = "spec.accelerators[0].gpusPerReplica"
        asked = spec.accelerators[0].gpus_per_replica
    if asked == "auto":
        return 1
    limit = max(1, offer.cards_per_node)
    if asked > limit:
        return Illegal(
            field,
            f"{asked} GPUs on one node are asked, and {offer.profile.name} has {limit}",
            f"set it to at most {limit}",
        )
    legal = [size for size in range(1, limit + 1) if _splits(shape, size)]
    if asked not in legal:
        choices = ", ".join(str(size) for size in legal)
        return Illegal(
            field,
            f"{asked} does not divide {shape.heads} attention heads and "
            f"{shape.kv_heads} KV heads evenly",
            f"use one of {choices}",
            reason="TensorParallelInvalid",
        )
    return asked


def _splits(shape: ModelShape, size: int) -> bool:
    if shape.heads % size:
        return False
    return (shape.kv_heads % size if size < shape.kv_heads else size % shape.kv_heads) == 0


def _dtype(shape: ModelShape, offer: Offer, spec: Spec) -> str:
    """The user's, else the engine build's, else the checkpoint's.

    A float32 checkpoint is served as bfloat16, as vLLM's own `auto` has it.
    """
    for named in (spec.runtime.dtype.value, offer.engine.dtype.value):
        if named != "auto":
            return named
    return shape.dtype if shape.dtype in ("bfloat16", "float16") else "bfloat16"


def _fraction(spec: Spec) -> Decimal:
    asked = spec.memory.gpu_memory_fraction
    return DEFAULT_GPU_FRACTION if asked == "auto" else Decimal(asked)


def _usable_bytes(offer: Offer, spec: Spec) -> int:
    if offer.cards_per_node:
        return int(offer.memory_bytes * _fraction(spec))
    return parse_bytes(spec.resources.memory) if spec.resources.memory else offer.memory_bytes


def _fixed_bytes(offer: Offer) -> int:
    return NON_TORCH_BYTES + GRAPH_BYTES if offer.cards_per_node else CPU_PROCESS_BYTES


def _context(
    shape: ModelShape, offer: Offer, spec: Spec, budget: _Budget, per_token: int
) -> int | DoesNotFit | Illegal:
    """Tokens: the user's if it fits, else the longest that one sequence can have."""
    asked = spec.runtime.max_model_len
    if asked != "auto" and asked > shape.max_position:
        return Illegal(
            "spec.runtime.maxModelLen",
            f"{asked} tokens are asked, and the model has {shape.max_position} positions",
            f"set it to at most {shape.max_position}, or to auto",
        )
    held = _whole_blocks(budget.left // per_token, offer)
    wanted = min(shape.max_position, MIN_AUTO_CONTEXT_TOKENS) if asked == "auto" else asked
    if held >= wanted:
        return min(shape.max_position, held) if asked == "auto" else asked
    return DoesNotFit(
        accelerator=offer.profile.name,
        needed_bytes=budget.spent + _blocks(wanted, offer) * per_token,
        have_bytes=budget.usable,
        what=(
            f"{format_bytes(budget.weights)} of weights, {format_bytes(budget.activations)} of "
            f"activations, {format_bytes(budget.fixed)} for the engine and a context of "
            f"{wanted} tokens"
        ),
        fixes=_fixes(offer, held),
    )


def _fixes(offer: Offer, held_tokens: int) -> tuple[str, ...]:
    shorter = (f"set spec.runtime.maxModelLen to at most {held_tokens}",) if held_tokens > 0 else ()
    if not offer.cards_per_node:
        return (*shorter, "raise spec.resources.memory", "choose a smaller or quantised model")
    return (
        *shorter,
        "set spec.parallelism.tensor to spread the model over more GPUs",
        "choose an accelerator with more memory",
        "choose a smaller or quantised model",
    )


def _blocks(tokens: int, offer: Offer) -> int:
    """Tokens rounded up to whole KV blocks."""
    size = KV_BLOCK_TOKENS[offer.engine.device]
    return -(-tokens // size) * size


def _whole_blocks(tokens: int, offer: Offer) -> int:
    size = KV_BLOCK_TOKENS[offer.engine.device]
    return max(0, tokens) // size * size


def _host_memory(offer: Offer, spec: Spec, weights_bytes: int) -> int:
    if spec.resources.memory:
        return parse_bytes(spec.resources.memory)
    return GPU_HOST_BYTES + weights_bytes if offer.cards_per_node else offer.memory_bytes


def _millicpu(offer: Offer, spec: Spec, tensor_parallel: int) -> int:
    if spec.resources.cpu:
        return parse_millicpu(spec.resources.cpu)
    return offer.profile.millicpu * (tensor_parallel if offer.cards_per_node else 1)


def _batch(offer: Offer, spec: Spec) -> tuple[int, int] | Illegal:
    """Sequences and tokens of one step; the engine wants at least one token for each sequence."""
    asked_seqs, asked_batched = spec.runtime.max_num_seqs, spec.runtime.max_num_batched_tokens
    device = offer.engine.device
    default_seqs = DEFAULT_MAX_NUM_SEQS[device]
    if isinstance(asked_batched, int):
        batched = asked_batched
        seqs = min(default_seqs, batched) if isinstance(asked_seqs, str) else asked_seqs
    else:
        seqs = default_seqs if isinstance(asked_seqs, str) else asked_seqs
        batched = max(DEFAULT_BATCHED_TOKENS[device], seqs)
    if batched < seqs:
        return Illegal(
            "spec.runtime.maxNumBatchedTokens",
            f"{batched} tokens in a step are fewer than maxNumSeqs {seqs}",
            f"set it to at least {seqs}, or lower maxNumSeqs",
        )
    return seqs, batched


def _explain(
    shape: ModelShape, offer: Offer, budget: _Budget, *, per_token: int, tokens: int, context: int
) -> list[str]:
    return [
        f"{format_bytes(budget.usable)} usable on {offer.profile.name}",
        f"weights {format_bytes(budget.weights)}, from the safetensors headers",
        f"activations {format_bytes(budget.activations)}, the engine {format_bytes(budget.fixed)}",
        f"KV cache {format_bytes(tokens * per_token)} = {tokens} tokens of {per_token} bytes",
        f"{shape.layers} layers with {shape.kv_heads} KV heads of {shape.head_dim}",
        f"context {context} of the model's {shape.max_position} tokens",
    ]
