"""One size on one accelerator, calculated through: what a rank holds, and what is left for KV.

Memory of one rank is `usable = weights + reserves + KV cache`. On a GPU the engine divides it
itself, by what it measures at start, so a context is chosen that fits with the planner's own error
to spare; on CPU the engine is told the KV bytes.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from math import ceil
from typing import Final

from berth_api.quantity import parse_bytes
from berth_api.spec import Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model import kv_cache, weights
from berth_operator.core.model.adapters import Adapters, slot_bytes
from berth_operator.core.model.kv_cache import Layout
from berth_operator.core.model.shape import DTYPE_BYTES, CacheKind, ModelShape, Part
from berth_operator.core.planner.reserves import Batch, Reserves, reserves, unknown_margin
from berth_operator.core.planner.wishes import Wishes
from berth_operator.settings import Device

# The engine's default block (vllm/platforms, 0.32); latent attention's kernels want blocks of 64.
BLOCK_TOKENS: Final = {Device.CUDA: 16, Device.ROCM: 16, Device.CPU: 128}
LATENT_BLOCK_TOKENS: Final = 64
# Steps that are scheduled at once: two with async scheduling, which the CPU has not
# (vllm/config/vllm.py, max_concurrent_batches, 0.32).
STEPS_IN_FLIGHT: Final = {Device.CUDA: 2, Device.ROCM: 2, Device.CPU: 1}
# Most adapters are stored in half precision; one that is served in float32 takes twice its file.
_STORED_BYTES: Final = 2
# How far the predicted KV memory may be from the engine's, as a share of the card: the bar that
# the calibration rows are held to.
PREDICTION_ERROR: Final = Decimal("0.01")


@dataclass(frozen=True)
class AdapterBytes:
    """What LoRA adapters take of one rank, on its card and of its worker's own memory."""

    slots: int = 0
    host: int = 0


@dataclass(frozen=True)
class Attempt:
    """Bytes are of one rank."""

    offer: Offer
    tensor_parallel: int
    nodes: int
    batch: Batch
    fraction: Decimal  # of a card
    usable: int
    weights: int
    buffers: int  # rotary tables, which are no weights
    reserves: Reserves
    margin: int  # for what is unknown of the architecture
    learned: int  # what the engine was seen to take beyond its reserves; it may be less
    layout: Layout
    concurrency: int
    longest: int  # tokens that a sequence may have at most
    least_blocks: int = 0  # with fewer the engine does not start
    adapters: AdapterBytes = AdapterBytes()

    @property
    def spent(self) -> int:
        reserved = self.activations + self.reserves.graphs + self.overhead
        return self.weights + self.adapters.slots + reserved

    @property
    def activations(self) -> int:
        return max(0, self.reserves.activations + self.learned)

    @property
    def overhead(self) -> int:
        """All that no graph, weight or step accounts for."""
        host = self.adapters.host if self.offer.on_cpu else 0
        return self.reserves.overhead + self.buffers + self.margin + host

    @property
    def kv_available(self) -> int:
        return max(0, self.usable - self.spent)

    @property
    def slack(self) -> int:
        """Not promised to any context."""
        return 0 if self.offer.on_cpu else int(self.offer.memory_bytes * PREDICTION_ERROR)

    @property
    def in_flight(self) -> int:
        """Tokens that are scheduled and not settled."""
        return STEPS_IN_FLIGHT[self.offer.engine.device] * self.batch.tokens

    @cached_property
    def blocks(self) -> int:
        return self.layout.blocks(self.kv_available)

    @cached_property
    def context(self) -> int:
        """The longest that `concurrency` sequences can have at once; 0 if none can."""
        safe = self.layout.blocks(max(0, self.kv_available - self.slack))
        if safe <= self.concurrency or safe < self.least_blocks:
            return 0
        return self.layout.longest(safe, self.in_flight, self.longest, self.concurrency)

    def needed(self, tokens: int) -> int:
        """Bytes with which `concurrency` sequences of `tokens` fit; the engine keeps one block."""
        each = self.layout.blocks_per_sequence(tokens, self.in_flight)
        blocks = max(self.concurrency * each + 1, self.least_blocks)
        return self.spent + self.slack + blocks * self.layout.bytes_per_block

    def sequences(self, tokens: int) -> int:
        """Whole sequences of `tokens` that fit at once."""
        each = self.layout.blocks_per_sequence(tokens, self.in_flight)
        return max(0, self.blocks - 1) // each if each else 0


def attempt(
    shape: ModelShape,
    offer: Offer,
    spec: Spec,
    wishes: Wishes,
    *,
    tensor_parallel: int,
    nodes: int,
    batch: Batch,
    learned_bytes: int = 0,
    adapters: Adapters | None = None,
) -> Attempt:
    """`nodes` is the pipeline-parallel size; `learned_bytes` may be below 0."""
    part = stage(shape, nodes)
    usable = usable_bytes(offer, spec, wishes.fraction, tensor_parallel)
    return Attempt(
        offer=offer,
        tensor_parallel=tensor_parallel,
        nodes=nodes,
        batch=batch,
        fraction=wishes.fraction,
        usable=usable,
        weights=weights.rank_bytes(part, wishes.dtype, tensor_parallel, on_hopper=offer.is_hopper),
        buffers=weights.buffers_bytes(part, wishes.dtype),
        reserves=reserves(
            part,
            offer.engine.device,
            batch,
            dtype=wishes.dtype,
            tensor_parallel=tensor_parallel,
            eager=offer.engine.enforce_eager,
            adapters=adapters is not None,
        ),
        margin=unknown_margin(part, usable),
        learned=learned_bytes,
        layout=kv_cache.layout(
            part,
            wishes.kv_dtype,
            tensor_parallel,
            block_tokens(shape, offer.engine.device),
            dtype=wishes.dtype,
            on_cpu=offer.on_cpu,
        ),
        concurrency=wishes.concurrency,
        longest=wishes.context.longest,
        least_blocks=_least_blocks(part, offer, batch),
        adapters=_adapter_bytes(adapters, part, wishes.dtype, tensor_parallel),
    )


def _adapter_bytes(
    adapters: Adapters | None, shape: ModelShape, dtype: str, tensor_parallel: int
) -> AdapterBytes:
    """A worker reads adapters whole, and keeps all that were asked for once."""
    if adapters is None:
        return AdapterBytes()
    slots = slot_bytes(adapters, shape, dtype, tensor_parallel)
    return AdapterBytes(slots, adapters.file_bytes * max(1, DTYPE_BYTES[dtype] // _STORED_BYTES))


def _least_blocks(shape: ModelShape, offer: Offer, batch: Batch) -> int:
    """Graphs of state-space layers want a block for each sequence of the batch.

    vllm/config/compilation.py, "max_num_seqs exceeds available Mamba cache blocks", 0.32.
    """
    keeps_state = any(layers.kind is CacheKind.STATE for layers in shape.cache)
    graphs = not (offer.on_cpu or offer.engine.enforce_eager)
    return batch.sequences if keeps_state and graphs else 0


def usable_bytes(offer: Offer, spec: Spec, fraction: Decimal, tensor_parallel: int) -> int:
    """Of one rank: the engine rounds its share of a card up; a pod's memory is split evenly."""
    if not offer.on_cpu:
        return ceil(offer.memory_bytes * fraction)
    pod = parse_bytes(spec.resources.memory) if spec.resources.memory else offer.memory_bytes
    return pod // tensor_parallel


def block_tokens(shape: ModelShape, device: Device) -> int:
    latent = any(layers.kind is CacheKind.LATENT for layers in shape.cache)
    return LATENT_BLOCK_TOKENS if latent and device is not Device.CPU else BLOCK_TOKENS[device]


def stage(shape: ModelShape, nodes: int) -> ModelShape:
    """The largest of `nodes` pipeline stages: its layers, and the vocabulary's ends."""
    if nodes == 1:
        return shape
    most = -(-shape.layers // nodes)
    ends = (Part.EMBEDDING, Part.HEAD, Part.VISION, Part.UNUSED)
    return replace(
        shape,
        layers=most,
        cache=tuple(replace(one, layers=-(-one.layers // nodes)) for one in shape.cache),
        parts={
            part: dict(by_dtype)
            if part in ends
            else {dtype: -(-count * most // shape.layers) for dtype, count in by_dtype.items()}
            for part, by_dtype in shape.parts.items()
        },
    )
