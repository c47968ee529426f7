"""Ollama's `options`, one row each: its type there, and the field that vLLM has for it.

What Ollama reads and an engine that is loaded already has no use for is checked for its type and
left out; what Ollama does not know either it skips, and so does this. Its own defaults (temperature
0.8, top_k 40, top_p 0.9) are not sent: the model's own generation_config.json holds.
"""

from collections.abc import Mapping
from enum import Enum
from math import isfinite
from typing import Any, Final, NamedTuple

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.jsontext import shown
from berth_gateway.settings import Limits


class Type(Enum):
    """With Ollama's own words for it."""

    INTEGER = "integer"
    NUMBER = "float32"
    FLAG = "boolean"
    TEXTS = "array"


class Option(NamedTuple):
    name: str
    type: Type
    field: str = ""  # of OpenAI's body, as vLLM has it; "": nothing there
    least: float | None = None  # below it the option means that it is not given


NUM_CTX: Final = "num_ctx"
NUM_PREDICT: Final = "num_predict"
MAX_TOKENS: Final = "max_tokens"
OPTIONS: Final = (
    Option("temperature", Type.NUMBER, "temperature"),
    Option("top_k", Type.INTEGER, "top_k"),
    Option("top_p", Type.NUMBER, "top_p"),
    Option("min_p", Type.NUMBER, "min_p"),
    Option("seed", Type.INTEGER, "seed", least=0),  # -1: another one each time
    Option("stop", Type.TEXTS, "stop"),
    Option(NUM_PREDICT, Type.INTEGER, MAX_TOKENS, least=1),  # -1 and -2: to the context's end
    Option("repeat_penalty", Type.NUMBER, "repetition_penalty"),
    Option("presence_penalty", Type.NUMBER, "presence_penalty"),
    Option("frequency_penalty", Type.NUMBER, "frequency_penalty"),
    # Of how a model is loaded. The operator has decided that.
    Option(NUM_CTX, Type.INTEGER),
    Option("num_batch", Type.INTEGER),
    Option("num_gpu", Type.INTEGER),
    Option("main_gpu", Type.INTEGER),
    Option("use_mmap", Type.FLAG),
    Option("num_thread", Type.INTEGER),
    Option("draft_num_predict", Type.INTEGER),
    # Of samplers and of shifting the context, which vLLM does not have.
    Option("num_keep", Type.INTEGER),
    Option("typical_p", Type.NUMBER),
    Option("repeat_last_n", Type.INTEGER),
)
_MOST: Final = 2**63 - 1  # of Go's integers


def read(options: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Those that have a field, under its name. Refusal (400) in Ollama's words."""
    found = {}
    for option in OPTIONS:
        value = typed(option, options.get(option.name))
        if value is None or not option.field:
            continue
        if option.least is None or value >= option.least:
            found[option.field] = value
    _check_length(found.get(MAX_TOKENS), limits)
    return found


def context(options: Mapping[str, Any]) -> int | None:
    """The `num_ctx` that was asked for."""
    value = options.get(NUM_CTX)
    return None if value is None else int(value)


def typed(option: Option, value: Any) -> Any:
    """A value as Go's server would hold it; None where there is none."""
    if value is None:
        return None
    if not _TESTS[option.type](value):
        message = f'option "{option.name}" must be of type {option.type.value}, not {shown(value)}'
        raise Refusal(Kind.BAD_REQUEST, message, param=f"options.{option.name}")
    return int(value) if option.type is Type.INTEGER else value


def _check_length(tokens: int | None, limits: Limits) -> None:
    if tokens is not None and tokens > limits.output_tokens:
        message = (
            f'option "{NUM_PREDICT}" is {shown(tokens)}; this gateway allows '
            f"{limits.output_tokens} at most, or -1 for as many as the context has room for"
        )
        raise Refusal(Kind.BAD_REQUEST, message, param=f"options.{NUM_PREDICT}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= _MOST if isinstance(value, int) else isfinite(value)


def _is_integer(value: Any) -> bool:
    """JSON's numbers are floats in Go; it cuts what stands behind the point."""
    return _is_number(value) and abs(value) <= _MOST


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_TESTS: Final = {
    Type.INTEGER: _is_integer,
    Type.NUMBER: _is_number,
    Type.FLAG: lambda value: isinstance(value, bool),
    Type.TEXTS: _is_texts,
}
