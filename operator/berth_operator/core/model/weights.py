"""Bytes of a model's weights on one rank, as the engine allocates them.

Exact where the shape Job said which tensor is which part (tests/engine/test_weights.py compares it
with the engine's own modules); where it did not, every tensor is taken as split evenly.
"""

from typing import Final

from berth_operator.core.model.shape import DTYPE_BYTES, Experts, ModelShape, Part

# Bytes per element by safetensors dtype, of those that the engine casts to its own dtype.
_FLOAT_BYTES: Final = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
# Rows of an embedding are padded to a multiple of this before they are split
# (vllm/model_executor/layers/vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE, 0.32).
VOCABULARY_PADDING: Final = 64
# MXFP4 experts are padded to what the kernels of CUDA cards need at most: the hidden size, and a
# rank's share of the intermediate size, to multiples of these (vllm/model_executor/layers/
# fused_moe/oracle/mxfp4.py, mxfp4_round_up_hidden_size_and_intermediate_size, 0.32). On Hopper the
# Triton kernel wants less; its own layout pads the hidden size, as the weights of gpt-oss-20b on an
# H100 show: 13.47 GiB, which is 12.83 with the experts' part times 3072/2880.
MXFP4_HIDDEN_PADDING: Final = 256
MXFP4_INTERMEDIATE_PADDING: Final = 128
MXFP4_INTERMEDIATE_PADDING_ON_HOPPER: Final = 64
# Four bits, and a scale of eight for each block of 32 (OCP Microscaling Formats, v1.0).
MXFP4_ELEMENT_BYTES: Final = 17 / 32
_MXFP4: Final = frozenset({"mxfp4", "gpt_oss_mxfp4"})


def rank_bytes(
    shape: ModelShape, dtype: str, tensor_parallel: int, *, on_hopper: bool = False
) -> int:
    """Bytes of the weights on one of `tensor_parallel` ranks, served in `dtype`."""
    held = sum(
        _on_rank(shape, part, _served(stored, count, dtype), tensor_parallel)
        for part, by_dtype in shape.parts.items()
        for stored, count in by_dtype.items()
    )
    return held + _mxfp4_padding(shape, tensor_parallel, on_hopper=on_hopper)


def padded_vocabulary(shape: ModelShape) -> int:
    """Rows of the embedding over all ranks."""
    return _padded(shape.vocabulary, VOCABULARY_PADDING)


def buffers_bytes(shape: ModelShape, dtype: str) -> int:
    """Bytes of the rotary tables, which every rank has whole."""
    element = shape.rotary_element_bytes or DTYPE_BYTES[dtype]
    return shape.rotary_rows * shape.rotary_dim * element


def _served(stored: str, count: int, dtype: str) -> int:
    """Bytes once cast; a quantised tensor, or one that is kept, stays as it is."""
    if stored in _FLOAT_BYTES:
        return count // _FLOAT_BYTES[stored] * DTYPE_BYTES[dtype]
    return count


def _on_rank(shape: ModelShape, part: Part, count: int, tensor_parallel: int) -> int:
    match part:
        case Part.UNUSED:
            return 0
        case Part.HEAD if shape.tied:
            return 0
        case Part.REPLICATED:
            return count
        case Part.EMBEDDING | Part.HEAD:
            return -(-count * padded_vocabulary(shape) // (shape.vocabulary * tensor_parallel))
        case _:
            return -(-count // _ways(shape, part, tensor_parallel))


def _ways(shape: ModelShape, part: Part, tensor_parallel: int) -> int:
    """Into how many pieces a part is split; ranks beyond hold one of them again."""
    match part:
        case Part.KEY_VALUE:
            return min(tensor_parallel, shape.kv_heads)
        case Part.STATE_GROUPS:
            return min(tensor_parallel, shape.state_groups)
        case Part.VISION if shape.vision and shape.vision.heads % tensor_parallel:
            return 1  # run whole on each rank (--mm-encoder-tp-mode data)
        case _:
            return tensor_parallel


def _mxfp4_padding(shape: ModelShape, tensor_parallel: int, *, on_hopper: bool) -> int:
    """What MXFP4 experts take on one rank beyond their even share."""
    method = shape.quantization.method if shape.quantization else ""
    if shape.experts is None or method not in _MXFP4:
        return 0
    least = MXFP4_INTERMEDIATE_PADDING_ON_HOPPER if on_hopper else MXFP4_INTERMEDIATE_PADDING
    share = -(-shape.experts.intermediate // tensor_parallel)
    inner, outer = _padded(share, least), _padded(shape.hidden, MXFP4_HIDDEN_PADDING)
    count = _mxfp4_bytes(shape, shape.experts)
    padded = -(-count * inner * outer // (shape.experts.intermediate * shape.hidden))
    return max(0, padded - -(-count // tensor_parallel))


def _mxfp4_bytes(shape: ModelShape, experts: Experts) -> int:
    """Of the experts' files; calculated where only an index told how large all files are."""
    told = shape.parts.get(Part.EXPERTS)
    if told is not None:
        return sum(count for stored, count in told.items() if stored not in _FLOAT_BYTES)
    one = 3 * shape.hidden * experts.intermediate  # gate, up and down
    return int(shape.layers * experts.count * one * MXFP4_ELEMENT_BYTES)


def _padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
