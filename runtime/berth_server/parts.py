"""Which part of a model a tensor is, by its name: how the engine spreads it over ranks. Pure.

The engine has one layer class for each way (vllm/model_executor/layers/linear.py and
vocab_parallel_embedding.py, 0.32) and the checkpoints' names say which one a tensor goes to. The
first rule that matches wins; what no rule matches is a matrix that is split. Parts are the names
of `berth_operator.core.model.shape.Part`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

EMBEDDING: Final = "embedding"
HEAD: Final = "head"
KEY_VALUE: Final = "keyValue"
STATE_GROUPS: Final = "stateGroups"
EXPERTS: Final = "experts"
LINEAR: Final = "linear"
REPLICATED: Final = "replicated"
VISION: Final = "vision"
UNUSED: Final = "unused"

# Before a dtype: the engine holds these bytes as they are, whatever dtype the model is served in.
KEPT: Final = "kept:"

_FUSED: Final = "fused"  # query, key and value in one matrix
_STATE_IN: Final = "stateIn"  # a state-space layer's input: with its groups in one matrix

# Outputs of a row-parallel layer are summed over ranks, so that each adds the whole bias.
_ROW: Final = (
    r"(o_proj|out_proj|down_proj|c_proj|dense|dense_4h_to_h|fc2|fc_out|wo|w2|linear_2|proj)"
)
_WEIGHT: Final = r"(weight|bias|qweight|qzeros|scales|g_idx|weight_\w+)"
_TOWER: Final = (
    r"^(model\.)?(visual|vision\w*|multi_modal_projector|mm_projector|image_newline|vit|vpm|"
    r"resampler|mlp1|audio\w*|aligner|modality_preprocessor|embed_vision|embed_audio)\b"
)

_RULES: Final = tuple(
    (re.compile(pattern), part)
    for pattern, part in (
        # Tables that the engine computes itself, and masks of old checkpoints.
        (r"(inv_freq|position_ids|masked_bias|rope_freqs\S*|rotary_emb\.\S+)$", UNUSED),
        (r"\bh\.\d+\.attn\.bias$|\.attention\.bias$", UNUSED),
        # Draft layers, which are loaded only for speculation.
        (r"(^|\.)(mtp|eagle\w*|draft\w*|medusa\w*)\.", UNUSED),
        (rf"{_TOWER}.*patch_embedding\.linear\.", VISION),
        (rf"{_TOWER}.*(norm|ln_|embed|position|class_|patch|newline|input_projection)", REPLICATED),
        (rf"{_TOWER}.*\.({_ROW}|mlp\.2)\.bias$", REPLICATED),
        (_TOWER, VISION),
        (r"(^|\.)(lm_head|embed_out)\.(weight|bias)$|^output\.weight$", HEAD),
        (r"(embed_positions|wpe|position_embeddings?)\b", REPLICATED),
        (r"(embed_tokens\w*|wte|word_embeddings?|tok_embeddings|embed_in|embeddings)\.weight$",
         EMBEDDING),
        # Of a mixture: what chooses, and what is added once after the ranks' sums.
        (r"(^|\.)(gate|router|shared_expert_gate|wg)(\.\w+)?$", REPLICATED),
        (r"(router|gate)\.\S*(weight|bias)$|e_score_correction_bias$", REPLICATED),
        (rf"\.experts\.(\S+\.)?{_ROW}[._]bias$", REPLICATED),
        (r"\.(experts|input_linear|output_linear)\.(?!\S*(input_scale|global_scale)$)", EXPERTS),
        # Attention that compresses keys and values, and its index of them.
        (r"\.(kv_a_proj\w*|q_a_proj|fused_qkv_a_proj|indexer)\b", REPLICATED),
        # One scale for a whole tensor, of which a few bytes are.
        (r"(input_scale|output_scale|[kvq]_scale|global_scale|weight_scale_2|activation_scale)$",
         REPLICATED),
        (rf"\.(k_proj|v_proj|wk|wv|key_proj|value_proj)\.{_WEIGHT}$", KEY_VALUE),
        (rf"\.(qkv_proj|query_key_value|c_attn|Wqkv|wqkv|W_pack|qkv)\.{_WEIGHT}$", _FUSED),
        # State-space layers: their own norm is over the split inner size.
        (r"\b(mixer|mamba)\.norm\.weight$", LINEAR),
        (r"\b(mixer|mamba)\.(in_proj|conv1d)\.(weight|bias)$", _STATE_IN),
        (r"(norm\w*|ln_\w+|layer_?norm\w*|layrnorm|ln\d?)(\.\w+)?\.(weight|bias)$|norm\w*$",
         REPLICATED),
        (rf"\.{_ROW}\.(bias|weight_scale)$", REPLICATED),
        (r"(?<!_proj)\.g_idx$|\.(q_proj|gate_proj|up_proj|gate_up_proj)\.g_idx$", REPLICATED),
    )
)  # fmt: skip

# Held in a dtype of their own: scales as stored, and what a recurrence accumulates with.
_KEPT_AS_STORED: Final = re.compile(
    r"(_scale|_scale_inv|_scale_2|_scales|e_score_correction_bias)$"
)
_FLOAT32: Final = re.compile(r"\.A_log$|e_score_correction_bias$")
_FLOAT32_BYTES: Final = 4

_DECODER_LAYER: Final = re.compile(
    r"^(?:model\.|language_model\.|text_model\.)*layers\.(\d{1,6})\."
)


@dataclass(frozen=True)
class Facts:
    """What of config.json decides where a tensor belongs; 0 where it is not said."""

    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    state_groups: int = 0
    state_size: int = 0
    state_heads: int = 0


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def elements(self) -> int:
        product = 1
        for size in self.shape:
            product *= size
        return product


def facts(config: Mapping[str, Any]) -> Facts:
    """Of a whole config.json; what is not a sound number is not said."""
    text = _text(config)
    heads = _number(text, "num_attention_heads", "n_head", "n_heads")
    return Facts(
        layers=_number(text, "num_hidden_layers", "n_layer", "n_layers"),
        heads=heads,
        kv_heads=_kv_heads(text) or heads,
        state_groups=_number(text, "mamba_n_groups", "mamba_ngroups", "n_groups"),
        state_size=_number(text, "mamba_d_state", "ssm_state_size", "state_size"),
        state_heads=_number(text, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads"),
    )


def split(tensor: Tensor, known: Facts) -> Iterator[tuple[str, str, int]]:
    """(part, dtype, bytes) of one tensor: one, or two where it holds parts side by side."""
    part = _part(tensor, known)
    dtype, size = _as_held(tensor)
    if part == _FUSED:
        beside = _share(size, *_fused_rows(known))
        yield from ((LINEAR, dtype, size - beside), (KEY_VALUE, dtype, beside))
    elif part == _STATE_IN:
        beside = _share(size, *_state_rows(tensor, known))
        yield from ((LINEAR, dtype, size - beside), (STATE_GROUPS, dtype, beside))
    else:
        yield part, dtype, size


def _part(tensor: Tensor, known: Facts) -> str:
    layer = _DECODER_LAYER.match(tensor.name)
    if layer and known.layers and int(layer[1]) >= known.layers:
        return UNUSED  # a draft layer behind the model's own (DeepSeek-V3)
    for pattern, part in _RULES:
        if pattern.search(tensor.name):
            return part
    return REPLICATED if tensor.elements <= 1 else LINEAR


def _as_held(tensor: Tensor) -> tuple[str, int]:
    if _FLOAT32.search(tensor.name):
        return KEPT + "F32", tensor.elements * _FLOAT32_BYTES
    if _KEPT_AS_STORED.search(tensor.name):
        return KEPT + tensor.dtype, tensor.size_bytes
    return tensor.dtype, tensor.size_bytes


def _share(size: int, rows: int, of: int) -> int:
    return size * rows // of if rows <= of and of else 0


def _fused_rows(known: Facts) -> tuple[int, int]:
    """Keys' and values' heads, of all."""
    return 2 * known.kv_heads, known.heads + 2 * known.kv_heads


def _state_rows(tensor: Tensor, known: Facts) -> tuple[int, int]:
    """Mamba-2 feeds a group's B and C to all its heads; Mamba-1 has no heads, and no groups."""
    groups = 2 * known.state_groups * known.state_size if known.state_heads else 0
    return groups, tensor.shape[0] if tensor.shape else 0


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("text_config", "llm_config", "language_config", "thinker_config"):
        section = config.get(name)
        if isinstance(section, Mapping):
            return _text(section)
    return config


def _kv_heads(text: Mapping[str, Any]) -> int:
    """Falcon's older layout has one, whatever else is said (FalconModelArchConfigConvertor)."""
    if text.get("multi_query") is True and not text.get("new_decoder_architecture"):
        return 1
    names: Sequence[str] = (
        "n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num",
    )  # fmt: skip
    return _number(text, *names)


def _number(text: Mapping[str, Any], *names: str) -> int:
    """The first that is said; a stranger's number, so bounded."""
    for name in names:
        value = text.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST:
            return value
    return 0


_MOST: Final = 2**24
