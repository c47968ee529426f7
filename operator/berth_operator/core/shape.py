"""The planner's view of a model: what `config.json` and the safetensors headers say, typed.

The shape Job hands back raw facts; this is the one place that interprets them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from berth_api.shape import Failure, FetchError, ShapeReport

# Bytes per element by safetensors dtype, for those that the engine casts to its own dtype.
_FLOAT_BYTES: Final = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
DTYPE_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}


@dataclass(frozen=True)
class ModelShape:
    """What decides a decoder's memory. Sizes are elements, `tensor_bytes` are bytes on disk."""

    architecture: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    max_position: int
    dtype: str  # config.json's, for example bfloat16
    tensor_bytes: Mapping[str, int]
    quantization: str | None = None

    def weights_bytes(self, dtype: str) -> int:
        """Bytes of all weights once cast to `dtype`; quantised tensors stay as they are."""
        size = DTYPE_BYTES[dtype]
        return sum(
            count // _FLOAT_BYTES[stored] * size if stored in _FLOAT_BYTES else count
            for stored, count in self.tensor_bytes.items()
        )

    def kv_bytes_per_token(self, dtype: str, tensor_parallel: int = 1) -> int:
        """Bytes of keys and values of one token on one rank, over all layers.

        KV heads are replicated, not shrunk, once there are more ranks than heads
        (vllm/config/model.py, get_num_kv_heads).
        """
        local_heads = max(1, self.kv_heads // tensor_parallel)
        return 2 * self.layers * local_heads * self.head_dim * DTYPE_BYTES[dtype]


def read(report: ShapeReport) -> ModelShape | Failure:
    """The shape, or why it cannot be read from this report."""
    config = report.config
    nested = config.get("text_config")
    text = nested if isinstance(nested, Mapping) else config
    try:
        return _read_decoder(config, text, report.tensorBytes)
    except (KeyError, TypeError, ValueError) as problem:
        return Failure(
            reason=FetchError.CONFIG_UNREADABLE.value,
            message=f"config.json has no usable {problem}",
            fix="use a model whose config.json names layers, heads, hidden size and vocabulary",
        )


def _read_decoder(
    config: Mapping[str, Any], text: Mapping[str, Any], tensor_bytes: Mapping[str, int]
) -> ModelShape:
    heads = _positive(text, "num_attention_heads")
    hidden = _positive(text, "hidden_size")
    kv_heads = int(text.get("num_key_value_heads") or heads)
    head_dim = int(text.get("head_dim") or hidden // heads)
    if kv_heads < 1 or head_dim < 1:
        raise ValueError(f"num_key_value_heads ({kv_heads}) and head_dim ({head_dim})")
    architectures = config.get("architectures") or ["unknown"]
    quantization = config.get("quantization_config") or {}
    return ModelShape(
        architecture=str(architectures[0]),
        layers=_positive(text, "num_hidden_layers"),
        hidden=hidden,
        intermediate=int(text.get("intermediate_size") or 4 * hidden),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=int(text.get("vocab_size") or config.get("vocab_size") or 0)
        or _positive(text, "vocab_size"),
        max_position=_positive(text, "max_position_embeddings"),
        dtype=str(
            text.get("dtype") or text.get("torch_dtype") or config.get("torch_dtype") or "bfloat16"
        ),
        tensor_bytes=dict(tensor_bytes),
        quantization=quantization.get("quant_method") if quantization else None,
    )


def _positive(config: Mapping[str, Any], key: str) -> int:
    value = config[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{key} ({value!r} is not a positive integer)")
    return value
