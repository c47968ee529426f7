"""The keys of a config.json that decide memory and parallelism, small enough for 4 KiB. Pure.

Facts are kept as they are; a long list of layer kinds becomes a count of each.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

# Of the model, or of its text_config: names that transformers' configurations use.
_KEPT: Final = frozenset(
    {
        # What it is.
        "architectures", "model_type", "dtype", "torch_dtype", "is_encoder_decoder", "auto_map",
        # Sizes, in today's and in GPT-2's spelling.
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings",
        "tie_word_embeddings", "n_embd", "n_layer", "n_head", "n_positions", "n_inner", "d_model",
        "n_layers", "n_heads", "num_layers", "ffn_dim", "ffn_hidden_size", "encoder_layers",
        "decoder_layers", "multi_query", "new_decoder_architecture", "n_head_kv", "num_kv_heads",
        "multi_query_group_num", "num_attention_groups", "kv_channels", "attention_head_dim",
        "hidden_size_per_head", "intermediate_size_mlp", "model_max_length", "max_seq_len",
        "seq_length", "max_target_positions", "max_sequence_length", "max_seq_length", "seq_len",
        "original_max_position_embeddings",
        # Attention that keeps less than one key and value per layer and token.
        "sliding_window", "use_sliding_window", "sliding_window_pattern", "max_window_layers",
        "layer_types", "full_attention_interval", "attention_chunk_size", "num_kv_shared_layers",
        "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim",
        "global_head_dim", "num_global_key_value_heads", "attention_k_eq_v",
        # Layers with a state instead.
        "layers_block_type", "attn_layer_period", "attn_layer_offset", "hybrid_override_pattern",
        "mamba_d_state", "mamba_d_conv", "mamba_expand", "mamba_n_heads", "mamba_d_head",
        "mamba_n_groups", "mamba_d_ssm", "mamba_num_heads", "mamba_head_dim", "n_mamba_heads",
        "mamba_headdim", "mamba_ngroups", "n_groups", "expand", "conv_kernel", "ssm_state_size",
        "state_size", "mamba_ssm_dtype", "mamba_ssm_cache_dtype", "conv_dim", "conv_L_cache",
        "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim",
        "linear_value_head_dim", "linear_conv_kernel_dim",
        # Experts.
        "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts",
        "n_shared_experts", "num_experts_per_tok", "experts_per_token", "moe_topk",
        "moe_intermediate_size", "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size", "shared_intermediate_size",
        "first_k_dense_replace", "decoder_sparse_step", "mlp_only_layers", "expert_layer_period",
        "interleave_moe_layer_step", "num_nextn_predict_layers",
        # Context extension.
        "rope_theta", "rope_type", "type", "factor", "mrope_section", "partial_rotary_factor",
        "rotary_pct", "position_embedding_type",
        # Quantisation.
        "quant_method", "bits", "group_size", "weight_block_size", "activation_scheme", "fmt",
        "kv_cache_scheme", "format", "quant_algo", "kv_cache_quant_algo", "load_in_4bit",
        "load_in_8bit", "num_bits", "w_bit", "block_structure", "strategy",
        # A vision tower.
        "depth", "num_heads", "image_size", "patch_size", "embed_dim", "out_hidden_size",
        "spatial_merge_size", "pixel_shuffle_ratio", "mm_tokens_per_image",
    }
)  # fmt: skip
# Whole sections in which the same names are looked for.
_SECTIONS: Final = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "quantization_config",
    "compression_config",
    "quantization",
    "config_groups",
    "group_0",
    "weights",
    "rope_scaling",
    "rope_parameters",
    "full_attention",  # rope_parameters of layers of one kind
    "sliding_attention",
    "chunked_attention",
    "vision_config",
    "audio_config",
)
# What goes first when a report is too long for its message.
_LEAST_NEEDED: Final = ("audio_config", "auto_map", "vision_config", "rope_scaling", "layer_types")
DROPPED: Final = "_dropped"
_MAX_TEXT_CHARACTERS: Final = 128
_MAX_LIST: Final = 8
# Deeper than any configuration known; hostile ones are cut here.
_MAX_DEPTH: Final = 5
# A list with an entry for each layer may go on for draft layers, which nobody loads.
_PER_LAYER: Final = frozenset({"layer_types", "layers_block_type"})


def trim(config: Mapping[str, Any]) -> dict[str, Any]:
    """The known keys of `config`, of its sections, and of their sections."""
    return _trim(config, 0)


def shorter(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Ever shorter versions of a trimmed `config`, each naming what it lacks."""
    left = dict(config)
    dropped: list[str] = []
    for name in _LEAST_NEEDED:
        if name in left:
            del left[name]
            dropped.append(name)
            yield left | {DROPPED: list(dropped)}


def _trim(config: Mapping[str, Any], depth: int) -> dict[str, Any]:
    kept = {name: _plain(_own(name, config)) for name in config if name in _KEPT}
    found = {name: value for name, value in kept.items() if value is not None}
    if depth < _MAX_DEPTH:
        for name in _SECTIONS:
            section = config.get(name)
            if isinstance(section, Mapping) and (inner := _trim(section, depth + 1)):
                found[name] = inner
    return found


def _own(name: str, config: Mapping[str, Any]) -> Any:
    """A value, without what it says of draft layers."""
    value, layers = config[name], config.get("num_hidden_layers")
    if name in _PER_LAYER and isinstance(value, list) and isinstance(layers, int) and layers > 0:
        return value[:layers]
    return value


def _plain(value: Any) -> Any:
    """A scalar, a short list, or the kinds of a long one; None for anything else."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:_MAX_TEXT_CHARACTERS]
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        if len(value) <= _MAX_LIST:
            return [_plain(item) for item in value]
        return dict(Counter(str(item)[:_MAX_TEXT_CHARACTERS] for item in value).most_common(8))
    return None
