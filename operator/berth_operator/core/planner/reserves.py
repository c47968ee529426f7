"""What the engine takes beside weights and KV cache, from what causes it.

The engine measures this itself: it runs the model once on the largest batch it will accept, samples
from every sequence at once, and captures its graphs (vllm/v1/worker/gpu_worker.py,
determine_available_memory; gpu_model_runner.py, profile_run and profile_cudagraph_memory, 0.32).
Each reserve below says what it stands for, where its number comes from and for which version.
Units: bytes on one rank; a rank is one GPU, or one worker process of a pod on CPU.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from berth_operator.core.model.shape import DTYPE_BYTES, ModelShape
from berth_operator.settings import Device

_MIB: Final = 2**20
_GIB: Final = 2**30

# Sampling sorts float32 logits of max_num_seqs rows with int64 indices for top-k and top-p. On the
# three H100 rows of llm-d-planner's table (engine 0.11; vocabularies of 201,088, 128,256 and
# 151,936; ranks 1, 1 and 2) the peak is 9.63, 9.73 and 9.72 such matrices. Later engines sample by
# kernels that sort in place, so for them this is an upper bound, which a measurement lowers.
SAMPLER_LOGIT_COPIES: Final = Decimal("9.75")
_LOGIT_BYTES: Final = 4

# CUDA or HIP context, and the libraries' handles: 0.13 GiB in the same rows with one rank.
CONTEXT_BYTES: Final = 136 * _MIB
# With several ranks, NCCL's channels and the all-reduce buffers: 0.54 GiB in all in the same rows.
COMMUNICATION_BYTES: Final = 420 * _MIB

# The engine captures so many batch sizes, up to 512 sequences (vllm/config/vllm.py,
# _set_cudagraph_sizes), each once whole for decoding and once in pieces for mixed batches.
_GRAPH_MODES: Final = 2
_MAX_GRAPH_SEQUENCES: Final = 512
# Where there are LoRA adapters, each once with them and once without (cudagraph_specialize_lora in
# vllm/config/compilation.py; v1/cudagraph_dispatcher.py, _get_lora_cases).
_ADAPTER_VARIANTS: Final = 2
# The engine's estimate counts at least 1 MiB per graph (profile_cudagraph_memory). The largest of
# the three rows is 0.39 GiB for 134 graphs: 3 MiB each.
GRAPH_BYTES_EACH: Final = 3 * _MIB

# The engine's processes on CPU without weights, activations and KV cache: 1.4 GiB where the three
# share their imports, 2.0 GiB where each has its own (proportional set sizes, 0.32).
CPU_PROCESS_BYTES: Final = 2 * _GIB
# Each worker beyond the first: 0.3 GiB more resident memory with two of them, rounded up.
CPU_RANK_BYTES: Final = 512 * _MIB

# An architecture whose cache and layers are not known: a tenth of the memory is left alone.
UNKNOWN_MARGIN: Final = Decimal("0.10")


@dataclass(frozen=True)
class Batch:
    """The largest step that the engine is told to accept."""

    sequences: int  # max_num_seqs
    tokens: int  # max_num_batched_tokens


@dataclass(frozen=True)
class Reserves:
    activations: int
    graphs: int
    overhead: int


def reserves(
    shape: ModelShape,
    device: Device,
    batch: Batch,
    *,
    dtype: str,
    tensor_parallel: int,
    eager: bool = False,
    adapters: bool = False,
) -> Reserves:
    """Bytes on one rank, without the margin for an unknown architecture."""
    activations = activation_bytes(shape, dtype, batch, tensor_parallel)
    if device is Device.CPU:
        return Reserves(activations, graphs=0, overhead=_processes(tensor_parallel))
    communication = COMMUNICATION_BYTES if tensor_parallel > 1 else 0
    variants = _ADAPTER_VARIANTS if adapters else 1
    graphs = 0 if eager else graph_bytes(shape, dtype, batch, tensor_parallel, variants)
    return Reserves(activations, graphs, CONTEXT_BYTES + communication)


def _processes(ranks: int) -> int:
    """One rank's share of what the pod's processes take together."""
    return _ceil_share(CPU_PROCESS_BYTES + (ranks - 1) * CPU_RANK_BYTES, ranks)


def activation_bytes(shape: ModelShape, dtype: str, batch: Batch, tensor_parallel: int) -> int:
    """Peak of the profile run: its sampler, its widest layer, or its vision tower."""
    size = DTYPE_BYTES[dtype]
    layer = batch.tokens * layer_width(shape, tensor_parallel) * size
    # What the tower returned is kept while the decoder runs.
    encoded = batch.tokens * shape.hidden * size if shape.vision else 0
    return max(sampler_bytes(shape, batch), layer + encoded, _tower_bytes(shape, batch, size))


def sampler_bytes(shape: ModelShape, batch: Batch) -> int:
    """Logits are gathered before they are sampled, so ranks do not share this."""
    return int(SAMPLER_LOGIT_COPIES * batch.sequences * shape.vocabulary * _LOGIT_BYTES)


def layer_width(shape: ModelShape, tensor_parallel: int) -> int:
    """Elements per token that are alive at once in the widest layer.

    Residual, normed input, attention output and its projection, then the gate and up projections
    and their product; with experts, one copy per chosen expert (fused_moe/modular_kernel.py:
    workspaces of tokens x top-k x the wider of both projections, and their product).
    """
    width = 4 * shape.hidden + 3 * _ceil_share(shape.intermediate, tensor_parallel)
    if shape.experts is None:
        return width
    inner = _ceil_share(shape.experts.intermediate, tensor_parallel)
    shared = 3 * _ceil_share(shape.experts.shared_intermediate, tensor_parallel)
    routed = shape.experts.per_token * (max(2 * inner, shape.hidden) + inner)
    return max(width, 4 * shape.hidden + shared + routed)


def graph_bytes(
    shape: ModelShape, dtype: str, batch: Batch, tensor_parallel: int, variants: int = 1
) -> int:
    """One node set per captured size and mode, and the buffers of the largest, shared by all."""
    largest = min(2 * batch.sequences, batch.tokens, _MAX_GRAPH_SEQUENCES)
    buffers = largest * layer_width(shape, tensor_parallel) * DTYPE_BYTES[dtype]
    return variants * graph_count(largest) * GRAPH_BYTES_EACH + buffers


def graph_count(largest: int) -> int:
    """Sizes 1, 2, 4, then every 8 below 256, then every 16; in each of the modes."""
    small = sum(size <= largest for size in (1, 2, 4))
    eights = len(range(8, min(largest + 1, 256), 8))
    sixteens = len(range(256, largest + 1, 16))
    return _GRAPH_MODES * (small + eights + sixteens)


def unknown_margin(shape: ModelShape, usable_bytes: int) -> int:
    return 0 if shape.known else int(usable_bytes * UNKNOWN_MARGIN)


def _tower_bytes(shape: ModelShape, batch: Batch, size: int) -> int:
    """The engine encodes as many patches as one step, or the largest picture, has tokens for.

    Towers run whole on each rank or by heads; whole is the larger.
    """
    tower = shape.vision
    if tower is None:
        return 0
    patches = max(batch.tokens, tower.max_item_tokens) * tower.patches_per_token
    return patches * (4 * tower.hidden + 3 * tower.intermediate) * size


def _ceil_share(whole: int, ranks: int) -> int:
    return -(-whole // ranks)
