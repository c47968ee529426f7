"""What decides a model's memory and how it may be split: the planner's view of it, typed.

`core.model.architecture` reads it from `config.json` and the safetensors headers. Sizes are
elements; bytes say so. Nothing here knows an accelerator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

DTYPE_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}


class CacheKind(Enum):
    """What a layer keeps of a sequence."""

    FULL = "full attention"  # a key and a value per token
    SLIDING = "sliding window"  # those of the last `window` tokens
    CHUNKED = "chunked attention"  # those of the present chunk of `window` tokens
    LATENT = "latent attention"  # MLA: one compressed vector per token, the same on every rank
    STATE = "state space"  # a state of fixed size, whatever the length


@dataclass(frozen=True)
class CacheLayers:
    """Layers of one model that keep the same; a model has one or more of these."""

    kind: CacheKind
    layers: int
    kv_heads: int = 1
    key_dim: int = 0  # per head; for LATENT the compressed vector with its rotary part
    value_dim: int = 0  # per head; 0 for LATENT
    window: int = 0  # tokens, of SLIDING and CHUNKED
    state: "tuple[StateTensor, ...]" = ()
    state_blocks: int = 2  # that one sequence holds of STATE layers


@dataclass(frozen=True)
class StateTensor:
    """One tensor of a state-space layer's state."""

    elements: int  # over all ranks
    element_bytes: int  # 0: of the dtype that the model is served in
    split: bool = True  # over the tensor-parallel ranks; else each holds it whole
    pieces: int = 0  # it is split into so many at most, and repeated beyond; 0: no limit
    cpu_element_bytes: int = 0  # on a CPU it is held in no fewer


@dataclass(frozen=True)
class Experts:
    """Of a mixture: `shared_intermediate` is 0 without shared experts."""

    count: int
    per_token: int
    intermediate: int  # of one expert
    shared_intermediate: int = 0


@dataclass(frozen=True)
class Quantization:
    """`group` runs along a layer's inputs; `block` is outputs by inputs."""

    method: str  # config.json's quant_method, for example awq, fp8, mxfp4, compressed-tensors
    bits: int
    group: int | None = None
    block: tuple[int, int] | None = None


@dataclass(frozen=True)
class Vision:
    """A tower beside the decoder."""

    heads: int
    layers: int
    hidden: int
    intermediate: int
    patches_per_token: int = 4  # merged into one token of the decoder
    max_item_tokens: int = 16_384  # of the largest picture, in tokens of the decoder


class Part(str, Enum):
    """How the engine spreads a tensor over ranks; the names are the shape report's."""

    EMBEDDING = "embedding"  # rows of the vocabulary, split after padding
    HEAD = "head"  # the same; absent when tied
    KEY_VALUE = "keyValue"  # split by KV heads, and repeated beyond them
    STATE_GROUPS = "stateGroups"  # of a state-space layer: the same with `state_groups`
    EXPERTS = "experts"  # split
    LINEAR = "linear"  # split
    REPLICATED = "replicated"  # norms, routers, biases of row-parallel layers
    VISION = "vision"  # the tower: split where its heads allow, else repeated
    UNUSED = "unused"  # draft layers, duplicates of tied weights: never loaded


@dataclass(frozen=True)
class ModelShape:
    architecture: str
    known: bool  # whether the reader knows how this architecture keeps its cache
    layers: int
    hidden: int
    intermediate: int  # of the dense layers
    heads: int
    kv_heads: int
    vocabulary: int
    max_position: int
    dtype: str  # config.json's, for example bfloat16
    cache: tuple[CacheLayers, ...]
    tied: bool = False
    rotary_dim: int = 0  # elements of one row of the rotary tables
    rotary_rows: int = 0  # of all rotary tables together
    rotary_element_bytes: int = 0  # 0: of the dtype that the model is served in
    query_dim: int = 0  # of a head of latent attention, with its rotary part
    value_dim: int = 0  # of a head of latent attention
    state_heads: tuple[int, ...] = ()  # counts of a state-space layer of which a rank has a share
    state_groups: int = 1  # of Mamba 2: split over ranks, unless there is one
    experts: Experts | None = None
    dense: bool = True  # whether some layer is no mixture
    quantization: Quantization | None = None
    vision: Vision | None = None
    parts: Mapping[Part, Mapping[str, int]] = field(default_factory=dict)
    """Bytes by part and by safetensors dtype (BF16, F8_E4M3, ...); kept: before it, as they are."""
