"""The tables of rotary positions that the engine makes beside the weights.

One row for each position of the longest context that the model was made for, whatever context is
served: vllm/model_executor/layers/rotary_embedding (0.32), _compute_cos_sin_cache of each class.
"""

from typing import Final

from berth_operator.core.model import cache_layers
from berth_operator.core.model.section import MOST_TOKENS, Section

# Positions are learned, or there are none; or the engine runs the model by its Transformers
# backend, which computes angles as it goes (vllm/model_executor/models/transformers).
_WITHOUT: Final = frozenset(
    {"bloom", "gpt2", "gpt_bigcode", "jamba", "mpt", "nemotron_h", "olmo2", "opt", "starcoder2"}
)
_NO_KIND: Final = frozenset({"nope", "absolute"})
# Sliding layers turn by a base of their own, so that there is a second table (models/gemma3.py).
_TWO_TABLES: Final = frozenset({"gemma3_text", "gemma3n_text"})
# Tables that are float32 whatever is served (models/gpt_oss.py, OAIAttention).
_FLOAT32: Final = frozenset({"gpt_oss"})
_FLOAT32_BYTES: Final = 4
# A position of a picture has several coordinates, and rows for more of them than the text has
# (get_rope, mrope_positions_factor).
_PICTURE_ROWS: Final = 4


def table(text: Section, family: str) -> tuple[int, int]:
    """(rows of all tables, elements of one row); (0, 0) without."""
    if family in _WITHOUT or text.text("position_embedding_type") in _NO_KIND:
        return 0, 0
    positions = text.number(
        "max_position_embeddings", "n_positions", "max_seq_len", most=MOST_TOKENS
    )
    rows = _scaled(text, positions) * (_PICTURE_ROWS if _turns_by_picture(text) else 1)
    return rows + (positions if family in _TWO_TABLES else 0), _width(text)


def element_bytes(family: str) -> int:
    """0: of the dtype that the model is served in."""
    return _FLOAT32_BYTES if family in _FLOAT32 else 0


def _turns_by_picture(text: Section) -> bool:
    scaling = text.inner("rope_parameters", "rope_scaling")
    return scaling is not None and (scaling.has("mrope_section") or _kind(scaling) == "mrope")


def _kind(scaling: Section) -> str:
    return scaling.text("rope_type", "type")


def _width(text: Section) -> int:
    if text.has("kv_lora_rank"):
        return text.number("qk_rope_head_dim")
    scaling = text.inner("rope_parameters", "rope_scaling")
    share = text.fraction("partial_rotary_factor", "rotary_pct")
    if scaling is not None:
        share = scaling.fraction("partial_rotary_factor", default=share)
    return int(cache_layers.head_dim(text) * share)


def _scaled(text: Section, positions: int) -> int:
    """Rows that a stretched context has."""
    scaling = text.inner("rope_scaling", "rope_parameters")
    if scaling is None:
        return positions
    original = scaling.optional(
        "original_max_position_embeddings",
        default=text.optional("original_max_position_embeddings", most=MOST_TOKENS),
        most=MOST_TOKENS,
    )
    match _kind(scaling):
        case "linear":
            return int(positions * _factor(scaling))
        case "yarn" | "deepseek_yarn":
            return int((original or positions) * _factor(scaling))
        case "longrope" | "su":
            return positions + (original or positions)
        case _:
            return positions


# Beyond any stretch known (DeepSeek's 40); a stranger's number.
_MAX_FACTOR: Final = 4096


def _factor(scaling: Section) -> float:
    value = scaling.values.get("factor")
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= _MAX_FACTOR:
        return float(value)
    return 1.0
