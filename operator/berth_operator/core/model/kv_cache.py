"""How the engine lays out its KV cache, and what a given memory holds.

Mirrors vllm/v1/core/kv_cache_utils.py (get_kv_cache_groups, get_kv_cache_configs) and
vllm/v1/kv_cache_interface.py (the specs), with vllm/platforms/interface.py
(_align_hybrid_block_size); engine 0.32. Layers that keep the same form groups of one size; each
group has blocks of its own for a sequence, all from one pool, so that a block is as wide as the
widest group. tests/engine/test_kv_cache.py compares this with the engine's own functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from berth_operator.core.model.shape import (
    DTYPE_BYTES,
    CacheKind,
    CacheLayers,
    ModelShape,
    StateTensor,
)

# BlockPool keeps one block to itself (vllm/v1/core/block_pool.py, null_block).
_NULL_BLOCKS: Final = 1
# Latent attention beside states: kernels want blocks of a multiple of this many tokens.
_LATENT_ALIGNMENT: Final = 128
# With fewer layers of one sort than this many times the others', groups take the larger count
# (_get_kv_cache_groups_uniform_page_size).
_NEARLY_EQUAL: Final = 1.5
_GROWING: Final = frozenset({CacheKind.FULL, CacheKind.LATENT})


@dataclass(frozen=True)
class Group:
    """Layers with one block table; `count` groups are alike, each with a table of its own."""

    kind: CacheKind
    layers: int
    block_tokens: int
    page_bytes: int  # of one block, over the group's layers
    window: int = 0
    state_blocks: int = 0
    count: int = 1

    def blocks(self, tokens: int, in_flight_tokens: int) -> int:
        """Blocks of one sequence in one group at most (max_admission_blocks_per_request)."""
        match self.kind:
            case CacheKind.SLIDING:
                held = min(self.window - 1 + in_flight_tokens, tokens)
                return -(-held // self.block_tokens) + 1  # the window may start within a block
            case CacheKind.CHUNKED:
                return -(-min(self.window + in_flight_tokens, tokens) // self.block_tokens)
            case CacheKind.STATE:
                return self.state_blocks
            case _:
                return -(-tokens // self.block_tokens)


@dataclass(frozen=True)
class Layout:
    """One rank's cache."""

    groups: tuple[Group, ...]
    block_tokens: int  # of the layers that attend
    bytes_per_block: int
    bytes_per_token: int
    """What one more token of a long sequence costs; of a model whose cache does not grow, what a
    token within its window does."""

    def blocks(self, available_bytes: int) -> int:
        """Blocks that `available_bytes` hold, the one that the engine keeps included."""
        return max(0, available_bytes) // self.bytes_per_block

    def blocks_per_sequence(self, tokens: int, in_flight_tokens: int) -> int:
        """Blocks that one sequence of `tokens` holds at most."""
        return sum(g.count * g.blocks(tokens, in_flight_tokens) for g in self.groups)

    def longest(self, blocks: int, in_flight_tokens: int, limit: int, sequences: int = 1) -> int:
        """Tokens of each of `sequences` that fit `blocks` together; 0 if none does."""
        usable = (blocks - _NULL_BLOCKS) // max(1, sequences)
        low, high = 0, max(0, limit)
        while low < high:
            middle = (low + high + 1) // 2
            if self.blocks_per_sequence(middle, in_flight_tokens) <= usable:
                low = middle
            else:
                high = middle - 1
        return low


@dataclass(frozen=True)
class _Spec:
    """Layers of one kind, as the engine specifies them: bytes are of one layer and block."""

    kind: CacheKind
    layers: int
    block_tokens: int
    page_bytes: int
    window: int = 0
    state_blocks: int = 0


def layout(
    shape: ModelShape,
    kv_dtype: str,
    tensor_parallel: int,
    block_tokens: int,
    dtype: str | None = None,
    *,
    on_cpu: bool = False,
) -> Layout:
    """The cache of one of `tensor_parallel` ranks, in blocks of `block_tokens` where it can be.

    `dtype` is what is served, which states are held in whatever keys and values are; without it
    that of the keys, or bfloat16 beside fp8. On a CPU some are held in more.
    """
    served = dtype or ("bfloat16" if kv_dtype == "fp8" else kv_dtype)
    attending = [one for one in shape.cache if one.kind is not CacheKind.STATE]
    states = [one for one in shape.cache if one.kind is CacheKind.STATE]
    pages = [_state_page(one, served, tensor_parallel, on_cpu=on_cpu) for one in states]
    block = _aligned(attending, max(pages, default=0), kv_dtype, tensor_parallel, block_tokens)
    specs = [
        _Spec(one.kind, one.layers, block, _page(one, kv_dtype, tensor_parallel, block), one.window)
        for one in attending
    ] + [
        _Spec(CacheKind.STATE, one.layers, block, page, state_blocks=one.state_blocks)
        for one, page in zip(states, pages, strict=True)
    ]
    groups = _grouped(specs)
    width = max(group.page_bytes for group in groups)
    return Layout(groups, block, width, _growth(groups, width))


def _page(layers: CacheLayers, kv_dtype: str, tensor_parallel: int, block_tokens: int) -> int:
    """Bytes of one layer's block. KV heads are repeated beyond as many ranks as heads.

    vllm/config/model.py, get_num_kv_heads; latent attention has one vector, on every rank.
    """
    latent = layers.kind is CacheKind.LATENT
    heads = 1 if latent else max(1, layers.kv_heads // tensor_parallel)
    return heads * (layers.key_dim + layers.value_dim) * DTYPE_BYTES[kv_dtype] * block_tokens


def _state_page(layers: CacheLayers, served: str, tensor_parallel: int, *, on_cpu: bool) -> int:
    return sum(
        _rank_elements(tensor, tensor_parallel) * _element_bytes(tensor, served, on_cpu=on_cpu)
        for tensor in layers.state
    )


def _rank_elements(tensor: StateTensor, tensor_parallel: int) -> int:
    ways = min(tensor_parallel, tensor.pieces or tensor_parallel) if tensor.split else 1
    return -(-tensor.elements // ways)


def _element_bytes(tensor: StateTensor, served: str, *, on_cpu: bool) -> int:
    least = tensor.cpu_element_bytes if on_cpu else 0
    return max(least, tensor.element_bytes or DTYPE_BYTES[served])


def _aligned(
    attending: Sequence[CacheLayers],
    state_page: int,
    kv_dtype: str,
    tensor_parallel: int,
    block_tokens: int,
) -> int:
    """Tokens of a block so that attention's page is no smaller than a state's."""
    if not attending or not state_page:
        return block_tokens
    first = next((one for one in attending if one.kind in _GROWING), attending[0])
    per_token = _page(first, kv_dtype, tensor_parallel, 1)
    latent = first.kind is CacheKind.LATENT
    step = max(block_tokens, _LATENT_ALIGNMENT) if latent else block_tokens
    return max(block_tokens, step * -(-state_page // (step * per_token)))


def _grouped(specs: Sequence[_Spec]) -> tuple[Group, ...]:
    if _uniform(specs):
        pages = sum(spec.layers * spec.page_bytes for spec in specs)
        layers = sum(spec.layers for spec in specs)
        first = specs[0]
        whole = Group(first.kind, layers, first.block_tokens, pages, first.window)
        return (replace(whole, state_blocks=first.state_blocks),)
    buckets = _merged([_widened(spec, max(s.page_bytes for s in specs)) for spec in specs])
    size = _group_size([spec.layers for spec in buckets])
    return tuple(group for spec in buckets for group in _groups(spec, size))


def _uniform(specs: Sequence[_Spec]) -> bool:
    """Whether all layers need the same slots (UniformTypeKVCacheSpecs.is_uniform_type)."""
    if all(spec.kind in _GROWING for spec in specs):
        return True
    return len({(spec.kind, spec.window) for spec in specs}) == 1 and len(specs) == 1


def _widened(spec: _Spec, page: int) -> _Spec:
    """With the largest page: more tokens in a block if that comes out even, else padded.

    unify_kv_cache_spec_page_size.
    """
    ratio = page // spec.page_bytes if page % spec.page_bytes == 0 else 1
    if spec.kind is CacheKind.STATE:
        ratio = 1
    return replace(spec, page_bytes=page, block_tokens=spec.block_tokens * ratio)


def _merged(specs: Sequence[_Spec]) -> list[_Spec]:
    """Those that differ in nothing but their count, together."""
    counts: dict[_Spec, int] = {}
    for spec in specs:
        same = replace(spec, layers=0)
        counts[same] = counts.get(same, 0) + spec.layers
    return [replace(spec, layers=count) for spec, count in counts.items()]


def _group_size(counts: Sequence[int]) -> int:
    least, most = min(counts), max(counts)
    return most if most < least * _NEARLY_EQUAL else least


def _groups(spec: _Spec, size: int) -> list[Group]:
    """As even as they come: layers[i::count]."""
    count = -(-spec.layers // size)
    share, larger = divmod(spec.layers, count)
    alike = ((share + 1, larger), (share, count - larger))
    one = Group(spec.kind, 1, spec.block_tokens, spec.page_bytes, spec.window, spec.state_blocks)
    return [
        replace(one, layers=layers, page_bytes=layers * spec.page_bytes, count=groups)
        for layers, groups in alike
        if groups
    ]


def _growth(groups: Sequence[Group], width: int) -> int:
    growing = [group for group in groups if group.kind in _GROWING]
    windowed = [group for group in groups if group.kind is not CacheKind.STATE]
    return sum(g.count * -(-width // g.block_tokens) for g in growing or windowed or groups)
