"""What each layer of a model keeps of a sequence, as the engine treats it.

Sources: vllm/model_executor/models/*.py, vllm/engine/arg_utils.py (create_engine_config: a window
for the whole model only if all layers slide) and transformers' configuration classes, which give
`layer_types` where config.json has none. Engine 0.32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from berth_operator.core.model.section import MOST_LAYERS, MOST_TOKENS, Section, Unreadable
from berth_operator.core.model.shape import CacheKind, CacheLayers, StateTensor

# vllm/transformers_utils/model_arch_config_convertor.py, is_deepseek_mla: these compress keys and
# values if they have a kv_lora_rank. Others with one are run as plain attention.
_LATENT: Final = frozenset(
    {
        "axk1", "bailing_hybrid", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite",
        "glm_moe_dsa", "kimi_k2", "kimi_linear", "longcat_flash", "pangu_ultra_moe",
    }
)  # fmt: skip

_FULL: Final = "full_attention"
_SLIDING: Final = "sliding_attention"
_CHUNKED: Final = "chunked_attention"
_STATE: Final = "linear_attention"
_KEEPING: Final = frozenset({_FULL, _SLIDING, _CHUNKED, _STATE})
# Words for the same, of older configurations; "mlp", "moe" and the like keep nothing.
_SAME: Final = {"attention": _FULL, "mamba": _STATE, "mamba2": _STATE, "conv": _STATE}
_PATTERN_LETTERS: Final = {"*": _FULL, "M": _STATE}


@dataclass(frozen=True)
class _Period:
    """Every `layers`-th layer is full attention, the others are `other`."""

    layers: int
    other: str
    key: str = ""  # of config.json, where it may say another period


# Families whose configuration class makes layer_types from a period.
_PERIODS: Final = {
    "gemma2": _Period(2, _SLIDING),
    "gemma3_text": _Period(6, _SLIDING, "sliding_window_pattern"),
    "gemma3n_text": _Period(5, _SLIDING),
    "gemma4_text": _Period(6, _SLIDING),
    "cohere2": _Period(4, _SLIDING, "sliding_window_pattern"),
    "gpt_oss": _Period(2, _SLIDING),
    "llama4_text": _Period(4, _CHUNKED),
    "olmo3": _Period(4, _SLIDING),
    "exaone4": _Period(4, _SLIDING, "sliding_window_pattern"),
    "qwen3_next": _Period(4, _STATE, "full_attention_interval"),
    "qwen3_5_text": _Period(4, _STATE, "full_attention_interval"),
    "qwen3_5_moe_text": _Period(4, _STATE, "full_attention_interval"),
}
# Layers that hold attention and a state side by side.
_BOTH: Final = frozenset({"falcon_h1"})
# Cohere's layers see the token at the window's edge too (models/commandr.py, CohereAttention).
_WIDER_BY: Final = {"cohere2": 1}
# Engine classes that refuse windows on only some layers (models/qwen2.py, Qwen2Model).
_ALL_OR_NONE: Final = frozenset({"qwen2", "qwen3"})

_FLOAT_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_AS_SERVED: Final = 0


def layers(text: Section, family: str) -> tuple[CacheLayers, ...]:
    """Raises Unreadable."""
    found = []
    for word, count in _kinds(text, family).items():
        match word:
            case "full_attention":
                found.append(_full(text, family, count))
            case "sliding_attention":
                found.append(_windowed(text, family, CacheKind.SLIDING, count))
            case "chunked_attention":
                found.append(_windowed(text, family, CacheKind.CHUNKED, count))
            case "linear_attention":
                found.append(_recurrent(text, family, count))
    if not found:
        raise Unreadable(
            "config.json names no layer that attends",
            "use a model that generates text; others are not planned for",
        )
    return tuple(one for one in found if one.layers)


def head_dim(text: Section) -> int:
    """Elements of one head's key."""
    said = text.optional("head_dim", "attention_head_dim", "hidden_size_per_head", "kv_channels")
    if said:
        return said
    hidden, count = text.number("hidden_size", "n_embd", "d_model"), heads(text)
    if hidden < count:
        raise Unreadable(
            f"config.json says hidden_size is {hidden}, less than its {count} attention heads",
            "correct hidden_size or num_attention_heads in config.json",
        )
    return hidden // count


def heads(text: Section) -> int:
    return text.number("num_attention_heads", "n_head", "n_heads", "num_heads")


def kv_heads(text: Section) -> int:
    """Falcon's older layout has one, whatever else is said (FalconModelArchConfigConvertor)."""
    if text.flag("multi_query") and not text.flag("new_decoder_architecture"):
        return 1
    names = (
        "n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num",
        "num_attention_groups",
    )  # fmt: skip
    return text.optional(*names, default=heads(text))


def _kinds(text: Section, family: str) -> Mapping[str, int]:
    """How many layers of each kind keep something."""
    total = layer_count(text)
    if family in _BOTH:
        return {_FULL: total, _STATE: total}
    said = _said(text, total)
    if said is not None:
        return said
    if text.has("attn_layer_period"):
        period, first = text.number("attn_layer_period"), text.optional("attn_layer_offset")
        full = len(range(first, total, period))
        return {_FULL: full, _STATE: total - full}
    if family in _PERIODS:
        return _periodic(text, _PERIODS[family], total - _shared(text, total))
    return _uniform(text, family, total)


def layer_count(text: Section) -> int:
    return text.number("num_hidden_layers", "n_layer", "n_layers", "num_layers", most=MOST_LAYERS)


def _shared(text: Section, total: int) -> int:
    """Layers at the end that use the cache of one before them (models/gemma3n.py)."""
    shared = text.optional("num_kv_shared_layers")
    if shared >= total:
        raise Unreadable(
            f"config.json says num_kv_shared_layers is {shared}, of {total} layers: at least one "
            "must keep keys and values of its own",
            f"correct num_kv_shared_layers in config.json to at most {total - 1}",
        )
    return shared


def _said(text: Section, total: int) -> Mapping[str, int] | None:
    """Of a configuration that lists its layers, or writes them as letters (Nemotron-H)."""
    letters = text.text("hybrid_override_pattern")
    if letters:
        counts = {_PATTERN_LETTERS[one]: letters.count(one) for one in _PATTERN_LETTERS}
        return _counted("hybrid_override_pattern", counts, total)
    if text.has("num_kv_shared_layers"):
        return None  # which of the listed ones share is a matter of order: the family's period
    name = "layer_types" if text.counts("layer_types") else "layers_block_type"
    listed = text.counts(name)
    found: dict[str, int] = {}
    for word, count in listed.items():
        same = _SAME.get(word, word)
        found[same] = found.get(same, 0) + count
    return _counted(name, found, total) if found else None


def _counted(name: str, found: Mapping[str, int], total: int) -> Mapping[str, int]:
    """Without the kinds that keep nothing; a layer is of one kind."""
    kept = {word: count for word, count in found.items() if count and word in _KEEPING}
    if sum(kept.values()) > total:
        raise Unreadable(
            f"config.json's {name} names {sum(kept.values())} layers that keep something, and "
            f"num_hidden_layers is {total}",
            f"correct {name} or num_hidden_layers in config.json",
        )
    return kept


def _periodic(text: Section, period: _Period, total: int) -> Mapping[str, int]:
    every = text.optional(period.key, default=period.layers) if period.key else period.layers
    full = max(0, total) // every
    return {period.other: total - full, _FULL: full}


def _uniform(text: Section, family: str, total: int) -> Mapping[str, int]:
    if not text.has("sliding_window") or not text.flag("use_sliding_window", default=True):
        return {_FULL: total}
    full = min(total, text.optional("max_window_layers"))
    if family in _ALL_OR_NONE and 0 < full < total:
        raise Unreadable(
            f"config.json slides only the layers from max_window_layers ({full}) on, of {total}: "
            "the engine refuses that",
            "set use_sliding_window to false in config.json, or use another model",
        )
    return {_FULL: full, _SLIDING: total - full}


def _full(text: Section, family: str, count: int) -> CacheLayers:
    if family in _LATENT and text.has("kv_lora_rank"):
        width = text.number("kv_lora_rank") + text.number("qk_rope_head_dim")
        return CacheLayers(CacheKind.LATENT, count, key_dim=width)
    plain = _attending(text, CacheKind.FULL, count)
    if not text.has("global_head_dim"):
        return plain
    # Gemma 4: its full layers have heads of their own.
    wide = text.number("global_head_dim")
    repeated = text.flag("attention_k_eq_v") and text.has("num_global_key_value_heads")
    count_kv = text.number("num_global_key_value_heads") if repeated else plain.kv_heads
    return replace(plain, kv_heads=count_kv, key_dim=wide, value_dim=wide)


def _attending(text: Section, kind: CacheKind, count: int, window: int = 0) -> CacheLayers:
    width = head_dim(text)
    if text.has("kv_lora_rank"):
        # Compressed on disk, plain in the cache: values are padded to the keys' width.
        width = text.number("qk_nope_head_dim") + text.number("qk_rope_head_dim")
    return CacheLayers(kind, count, kv_heads(text), width, width, window)


def _windowed(text: Section, family: str, kind: CacheKind, count: int) -> CacheLayers:
    key = "attention_chunk_size" if kind is CacheKind.CHUNKED else "sliding_window"
    window = text.number(key, most=MOST_TOKENS) + _WIDER_BY.get(family, 0)
    return _attending(text, kind, count, window)


# A state at the last whole block beside the one in use, with prefix caching, which the engine
# turns on by itself (MambaSpec.max_memory_usage_bytes, mamba_cache_mode "align"); Mamba 2 exports
# one more from within a prefill (layers/mamba/mamba_mixer2.py, get_kv_cache_spec).
_STATE_BLOCKS: Final = 2
_MAMBA2_BLOCKS: Final = 3
_MAMBA2_HEADS: Final = ("mamba_n_heads", "mamba_num_heads", "n_mamba_heads")


def _recurrent(text: Section, family: str, count: int) -> CacheLayers:
    blocks = _MAMBA2_BLOCKS if text.has(*_MAMBA2_HEADS) else _STATE_BLOCKS
    state = _state(text, family)
    return CacheLayers(CacheKind.STATE, count, state=state, state_blocks=blocks)


def _state(text: Section, family: str) -> tuple[StateTensor, ...]:
    """By the keys that a configuration has, as MambaStateShapeCalculator does. Raises Unreadable.

    vllm/model_executor/layers/mamba/mamba_utils.py.
    """
    for key, read in _STATES:
        if text.has(key):
            return read(text, family)
    raise Unreadable(
        "config.json names layers with a state, and no size of it",
        "use a model of a family that the engine knows",
    )


def _delta_net(text: Section, family: str) -> tuple[StateTensor, ...]:
    """gated_delta_net_state_shape: keys, queries and values of the convolution, and the state."""
    key = text.number("linear_num_key_heads") * text.number("linear_key_head_dim")
    values, width = text.number("linear_num_value_heads"), text.number("linear_value_head_dim")
    steps = _steps(text, "linear_conv_kernel_dim")
    return (
        StateTensor((2 * key + values * width) * steps, _AS_SERVED),
        _recurrence(values * width * text.number("linear_key_head_dim"), text, family),
    )


def _mamba2(text: Section, family: str) -> tuple[StateTensor, ...]:
    """mamba2_state_shape; a rank holds whole groups, so that beyond them they are repeated."""
    count = text.number(*_MAMBA2_HEADS)
    width = text.optional("mamba_d_head", "mamba_head_dim", "mamba_headdim")
    inner = text.optional("mamba_d_ssm") or (
        count * width
        if width
        else text.number("mamba_expand", "expand") * text.number("hidden_size")
    )
    size = text.number("mamba_d_state", "ssm_state_size", "state_size")
    groups = state_groups(text)
    steps = _steps(text, "mamba_d_conv", "conv_kernel")
    return (
        StateTensor(inner * steps, _AS_SERVED),
        StateTensor(2 * groups * size * steps, _AS_SERVED, pieces=groups),
        _recurrence(inner * size, text, family),
    )


def state_groups(text: Section) -> int:
    """Of Mamba 2; 1 where there are no groups."""
    return text.optional("mamba_n_groups", "mamba_ngroups", "n_groups", default=1)


def state_heads(text: Section) -> tuple[int, ...]:
    """Counts of which each rank has a share."""
    names = ("linear_num_key_heads", "linear_num_value_heads")
    found = [text.optional(name) for name in names]
    found.append(text.optional("mamba_n_heads", "mamba_num_heads", "n_mamba_heads"))
    return tuple(count for count in found if count)


def _mamba1(text: Section, family: str) -> tuple[StateTensor, ...]:
    """mamba1_state_shape."""
    inner = text.number("mamba_expand", "expand") * text.number("hidden_size")
    steps = _steps(text, "mamba_d_conv", "conv_kernel")
    size = text.number("mamba_d_state", "state_size")
    return StateTensor(inner * steps, _AS_SERVED), _recurrence(inner * size, text, family)


def _short_convolution(text: Section, family: str) -> tuple[StateTensor, ...]:  # noqa: ARG001
    """short_conv_state_shape."""
    width = text.optional("conv_dim") or text.number("hidden_size")
    return (StateTensor(width * _steps(text, "conv_L_cache"), _AS_SERVED),)


# A kernel of one token looks back at none, so that its state would be empty.
_LEAST_KERNEL: Final = 2


def _steps(text: Section, *names: str) -> int:
    """Tokens that a convolution keeps: conv_kernel - 1 (MambaStateShapeCalculator)."""
    kernel = text.number(*names)
    if kernel < _LEAST_KERNEL:
        name = next(one for one in names if text.has(one))
        raise Unreadable(
            f"config.json says {name} is {kernel}, and a convolution spans {_LEAST_KERNEL} tokens "
            "at least",
            f"correct {name} in config.json, or use the model's published files",
        )
    return kernel - 1


_States = Callable[[Section, str], tuple[StateTensor, ...]]
_STATES: Final[tuple[tuple[str, _States], ...]] = (
    ("linear_num_value_heads", _delta_net),
    ("mamba_n_heads", _mamba2),
    ("mamba_num_heads", _mamba2),
    ("n_mamba_heads", _mamba2),
    ("mamba_d_state", _mamba1),
    ("conv_L_cache", _short_convolution),
)
# Families whose recurrence is kept in float32 unless config.json says otherwise (models/config.py,
# NemotronHForCausalLMConfig).
_FLOAT32_STATE: Final = frozenset({"nemotron_h"})


# The engine on a CPU with AVX512-BF16 holds every recurrence in float32, and on another as on a GPU
# (vllm/platforms/cpu.py, "Accelerated GDN"). The operator cannot know which CPU a pod will have, so
# the larger is planned, which is enough for both.
_CPU_BYTES: Final = _FLOAT_BYTES["float32"]
# But for gated delta nets that say 16 bits where the engine reads it (models/config.py,
# Qwen3_5ForConditionalGenerationConfig): these stay so.
_READ_ON_CPU: Final = frozenset({"qwen3_5_text", "qwen3_5_moe_text"})


def _recurrence(elements: int, text: Section, family: str) -> StateTensor:
    """The recurrent state itself, beside which a convolution's is of the dtype that is served."""
    said = _FLOAT_BYTES.get(text.text("mamba_ssm_cache_dtype", "mamba_ssm_dtype"))
    usual = _FLOAT_BYTES["float32"] if family in _FLOAT32_STATE else _AS_SERVED
    least = said if said and family in _READ_ON_CPU else _CPU_BYTES
    return StateTensor(elements, said or usual, cpu_element_bytes=least)
