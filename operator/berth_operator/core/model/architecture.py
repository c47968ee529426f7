"""A model's shape, from what the shape Job read: config.json's keys and the tensors' bytes.

What counts is how the engine treats a model, which is not always what its configuration says.
Names of architectures stand here for what differs between families and is in no file, never for
how much memory a model takes.
"""

from collections.abc import Mapping
from typing import Any, Final

from berth_api.shape import Failure, FetchError, ShapeReport
from berth_operator.core.model import cache_layers, rotary, weights
from berth_operator.core.model.section import MOST_TOKENS, Section, Unreadable
from berth_operator.core.model.shape import (
    DTYPE_BYTES,
    Experts,
    ModelShape,
    Part,
    Quantization,
    Vision,
)

# Where a model of several modalities keeps its decoder.
_TEXT: Final = ("text_config", "llm_config", "language_config", "thinker_config")
# Deeper than any configuration known: thinker_config.text_config.
_MAX_DEPTH: Final = 3

# What config.json may leave out, of families whose files do (transformers' configuration classes).
_GEMMA: Final = {"head_dim": 256, "tie_word_embeddings": True}
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "cohere": {"tie_word_embeddings": True},
    "cohere2": {"tie_word_embeddings": True, "sliding_window": 4096},
    "falcon": {"tie_word_embeddings": True, "max_position_embeddings": 2048, "ffn_multiple": 4},
    "gemma": _GEMMA | {"num_key_value_heads": 16},
    "gemma2": _GEMMA | {"sliding_window": 4096},
    "gemma3_text": _GEMMA
    | {
        "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262_208,
        "max_position_embeddings": 131_072, "sliding_window": 4096,
    },
    "gpt2": {"tie_word_embeddings": True},
    "gpt_bigcode": {"tie_word_embeddings": True},
    "bloom": {"tie_word_embeddings": True, "max_position_embeddings": 2048},
    "gpt_oss": {"head_dim": 64, "sliding_window": 128},
    "llama4_text": {"head_dim": 128, "attention_chunk_size": 8192},
    "nemotron_h": {"head_dim": 128},
    "opt": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 128},
    "qwen3_next": {"head_dim": 256, "partial_rotary_factor": 0.25},
    "starcoder2": {"tie_word_embeddings": True},
}  # fmt: skip

# Families compared with the engine's own cache (tests/engine/test_kv_cache.py), and those that it
# runs by the same class as one of them.
_KNOWN: Final = frozenset(
    {
        "cohere", "cohere2", "deepseek", "deepseek_v2", "deepseek_v3", "falcon", "falcon_h1",
        "gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_oss", "granite", "granitemoe",
        "granitemoehybrid", "jamba", "kimi_k2", "lfm2", "llama", "llama4", "llama4_text",
        "ministral3", "mistral", "mistral3", "mixtral", "nemotron_h", "olmo2", "phi3", "qwen2",
        "qwen2_5_vl", "qwen2_moe", "qwen2_vl", "qwen3", "qwen3_moe", "qwen3_next", "starcoder2",
    }
)  # fmt: skip


def read(report: ShapeReport) -> ModelShape | Failure:
    """The shape, or why it cannot be read from this report."""
    try:
        return _weighty(_decoder(report))
    except Unreadable as problem:
        return Failure(
            reason=FetchError.CONFIG_UNREADABLE.value, message=str(problem), fix=problem.fix
        )


def _weighty(shape: ModelShape) -> ModelShape:
    """Refuses a shape of which the engine would load nothing."""
    if weights.rank_bytes(shape, shape.dtype, tensor_parallel=1) <= 0:
        raise Unreadable(
            "the shape report has no bytes of weights that the engine would load",
            "use a model whose safetensors files, or whose index's metadata.total_size, say them",
        )
    return shape


def _decoder(report: ShapeReport) -> ModelShape:
    whole = Section(report.config, {})
    text = _text(report.config)
    family = text.text("model_type") or whole.text("model_type")
    cache = cache_layers.layers(text, family)
    hidden = text.number("hidden_size", "n_embd", "d_model")
    rows, width = rotary.table(text, family)
    return ModelShape(
        architecture=_architecture(report.config),
        known=whole.text("model_type") in _KNOWN,
        layers=cache_layers.layer_count(text),
        hidden=hidden,
        intermediate=_intermediate(text, hidden) if _has_dense_layers(text) else 0,
        heads=cache_layers.heads(text),
        kv_heads=cache_layers.kv_heads(text),
        vocabulary=text.optional("vocab_size") or whole.number("vocab_size"),
        max_position=_max_position(text, family),
        dtype=_dtype(whole, text),
        cache=cache,
        tied=_tied(whole, text),
        rotary_dim=width,
        rotary_rows=rows,
        rotary_element_bytes=rotary.element_bytes(family),
        query_dim=text.optional("qk_nope_head_dim") + text.optional("qk_rope_head_dim"),
        value_dim=text.optional("v_head_dim"),
        state_heads=cache_layers.state_heads(text),
        state_groups=cache_layers.state_groups(text),
        experts=_experts(text, hidden),
        dense=_dense(text),
        quantization=_quantization(whole, text),
        vision=_vision(whole),
        parts=_parts(report),
    )


def _text(config: Mapping[str, Any], depth: int = 0) -> Section:
    """The decoder's section, with what only the whole configuration says behind it."""
    for name in _TEXT:
        inner = config.get(name)
        if isinstance(inner, Mapping) and depth < _MAX_DEPTH:
            return _text(inner, depth + 1)
    family = config.get("model_type")
    return Section(config, _DEFAULTS.get(family, {}) if isinstance(family, str) else {})


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else "unknown"


def _intermediate(text: Section, hidden: int) -> int:
    """Of the dense layers; four times the hidden size where a family has no word for it."""
    return text.optional(
        "intermediate_size_mlp", "intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size",
        default=4 * hidden,
    )  # fmt: skip


def _has_dense_layers(text: Section) -> bool:
    """Mixtures may replace all of them, or those after the first few, or every other one."""
    every = ("decoder_sparse_step", "expert_layer_period", "interleave_moe_layer_step")
    return (
        text.optional(*_EXPERT_COUNTS) <= 1
        or text.optional("first_k_dense_replace") > 0
        or bool(text.counts("mlp_only_layers"))
        or any(text.optional(name) > 1 for name in every)
    )


# Names of a model's length, of which the least counts (vllm/transformers_utils/
# model_arch_config_convertor.py, derive_max_model_len_and_key, 0.32).
_LENGTHS: Final = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_target_positions",
    "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
# Above all of them. The tokenizer's configuration has one too, which the engine reads of pooling
# models only, and Berth never.
_OWN_LENGTH: Final = "model_max_length"
# What a library writes for "no limit" is 10^30: longer than any model, it says nothing.
_NO_LIMIT: Final = 2**128
# Kinds of rotary scaling whose lengths are told as stretched; all others' are multiplied by the
# factor (vllm/config/model.py, _get_and_verify_max_len, 0.32). Names as in config.json: the engine
# makes "longrope" of "su" and "yarn" of "telechat3-yarn".
_TOLD_STRETCHED: Final = frozenset(
    {
        "su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling",
        "telechat3-yarn",
    }
)  # fmt: skip
# Beyond any stretch known (DeepSeek's 40); a stranger's number.
_MOST_STRETCH: Final = 4096


def _max_position(text: Section, family: str) -> int:
    """The longest context that the engine lets a user ask for."""
    said = [text.number(name, most=MOST_TOKENS) for name in _LENGTHS if text.has(name)]
    own = text.optional(_OWN_LENGTH, most=_NO_LIMIT)
    own = own if own <= MOST_TOKENS else 0
    told = own or min(said or [text.number(_LENGTHS[0])])
    return min(MOST_TOKENS, max(own, int(told * _stretch(text, family))))


def _stretch(text: Section, family: str) -> float:
    """Gemma 3's length is told as stretched, whatever its scaling is called."""
    scaling = None if "gemma3" in family else text.inner("rope_scaling", "rope_parameters")
    if scaling is None:
        return 1.0
    by_layer = [Section(one, {}) for one in scaling.values.values() if isinstance(one, Mapping)]
    stretch = 1.0
    for one in by_layer or [scaling]:
        if one.text("rope_type", "type") not in _TOLD_STRETCHED:
            stretch = _factor(one.values.get("factor"), stretch)
    return stretch


def _factor(said: Any, default: float) -> float:
    usable = isinstance(said, int | float) and not isinstance(said, bool)
    return float(said) if usable and 0 < said <= _MOST_STRETCH else default


def _dtype(whole: Section, text: Section) -> str:
    """vllm: ModelArchConfigConvertorBase.get_torch_dtype."""
    said = whole.text("dtype", "torch_dtype") or text.text("dtype", "torch_dtype")
    return said if said in DTYPE_BYTES else "bfloat16"


def _tied(whole: Section, text: Section) -> bool:
    """The whole configuration decides; without a word from it the decoder's, or its family's."""
    inner = text.flag("tie_word_embeddings")
    return whole.flag("tie_word_embeddings", default=inner)


_EXPERT_COUNTS: Final = (
    "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts",
)  # fmt: skip


def _dense(text: Section) -> bool:
    """Whether some layer is no mixture (models/mixtral.py, qwen3_moe.py, deepseek_v2.py)."""
    if text.has("decoder_sparse_step", "mlp_only_layers"):
        return text.optional("decoder_sparse_step") > 1 or bool(text.counts("mlp_only_layers"))
    if text.has("first_k_dense_replace"):
        return text.optional("first_k_dense_replace") > 0
    apart = text.has("moe_intermediate_size", "intermediate_size_mlp", "expert_layer_period")
    return apart or not text.has("num_local_experts")


def _experts(text: Section, hidden: int) -> Experts | None:
    count = text.optional(*_EXPERT_COUNTS)
    if count <= 1:
        return None
    inner = text.optional("moe_intermediate_size", "intermediate_size", default=4 * hidden)
    shared = text.optional("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size")
    return Experts(
        count=count,
        per_token=text.optional("num_experts_per_tok", "experts_per_token", "moe_topk", default=1),
        intermediate=inner,
        shared_intermediate=shared or inner * text.optional("n_shared_experts"),
    )


def _quantization(whole: Section, text: Section) -> Quantization | None:
    names = ("quantization_config", "compression_config")
    said = whole.inner(*names) or text.inner(*names)
    if said is None:
        return None
    inner = said.inner("quantization") or said
    algorithm = inner.text("quant_algo").lower()
    method = (said.text("quant_method") or ("modelopt" if algorithm else "unknown")).lower()
    detail = _first_group(said) or said
    return Quantization(
        method=method.replace("compressed_tensors", "compressed-tensors"),
        bits=_bits(said, detail, method, algorithm),
        group=_group(detail) or _GROUPS.get(method) or _GROUPS.get(algorithm),
        block=_block(said, detail),
    )


def _group(detail: Section) -> int:
    """-1 stands for a whole row: no groups."""
    return 0 if detail.values.get("group_size") == -1 else detail.optional("group_size")


def _first_group(said: Section) -> Section | None:
    """compressed-tensors describes groups of layers; in practice all linear ones are alike."""
    groups = said.inner("config_groups")
    first = groups.inner(*sorted(groups.values)) if groups else None
    return first.inner("weights") if first else None


# Elements that share a scale, of formats that fix it.
_GROUPS: Final = {"mxfp4": 32, "nvfp4": 16, "modelopt_fp4": 16}
_BITS: Final = {"mxfp4": 4, "nvfp4": 4, "modelopt_fp4": 4, "awq": 4, "gptq": 4}


def _bits(said: Section, detail: Section, method: str, algorithm: str) -> int:
    if said.flag("load_in_4bit"):
        return 4
    default = _BITS.get(method) or _BITS.get(algorithm) or 8
    return detail.optional("num_bits", "bits", "w_bit", default=default, most=32)


def _block(said: Section, detail: Section) -> tuple[int, int] | None:
    for section, name in ((said, "weight_block_size"), (detail, "block_structure")):
        match section.values.get(name):
            case [int(rows), int(columns)] if (
                0 < rows <= _MOST_BLOCK and 0 < columns <= _MOST_BLOCK
            ):
                return rows, columns
    return None


_MOST_BLOCK: Final = 2**16


def _vision(whole: Section) -> Vision | None:
    tower = whole.inner("vision_config")
    thinker = whole.inner("thinker_config")
    if tower is None and thinker is not None:
        tower = thinker.inner("vision_config")
    if tower is None or not tower.has("hidden_size", "embed_dim"):
        return None
    # Qwen2-VL names the tower's own width embed_dim, and the decoder's hidden_size.
    hidden = tower.number("embed_dim", "hidden_size")
    return Vision(
        heads=tower.optional("num_heads", "num_attention_heads", default=1),
        layers=tower.optional("depth", "num_hidden_layers", default=1),
        hidden=hidden,
        intermediate=tower.optional("intermediate_size", default=4 * hidden),
        **_picture(whole, tower),
    )


def _picture(whole: Section, tower: Section) -> dict[str, int]:
    """How many patches become one token, and the tokens of a picture, where that is said."""
    tokens = whole.optional("mm_tokens_per_image")
    side = tower.optional("image_size") // tower.optional("patch_size", default=1)
    if tokens and side:  # Gemma 3: every picture has the same size
        return {"max_item_tokens": tokens, "patches_per_token": max(1, side * side // tokens)}
    ratio = tower.fraction("pixel_shuffle_ratio")
    merged = tower.optional("spatial_merge_size", default=round(1 / max(ratio, _LEAST_RATIO)))
    return {"patches_per_token": merged * merged} if merged > 1 else {}


# A picture's sides are never merged by more than this; a stranger's number.
_LEAST_RATIO: Final = 1 / 64


def _parts(report: ShapeReport) -> Mapping[Part, Mapping[str, int]]:
    """Where only totals are known, as if all were split."""
    named = {part.value: part for part in Part}
    found = {
        named.get(part, Part.LINEAR): dict(sizes) for part, sizes in report.parts.items() if sizes
    }
    return found or {Part.LINEAR: dict(report.tensorBytes)}
