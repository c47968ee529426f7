"""PARAMETER: which field of the spec each becomes, and why the others become none.

Two tables. What the engine lacks is refused where it would change answers, and else only told: a
Modelfile that somebody tuned for a graphics card is not wrong on a cluster.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Final

from berth_api.modelfile.said import Part, Problem, Remark, Said
from berth_api.spec import (
    DECIMAL,
    MAX_CONTEXT_TOKENS,
    MAX_NUMBER_CHARACTERS,
    MAX_SEED,
    MAX_STOP_CHARACTERS,
    MAX_TOP_K,
    PENALTY,
    POSITIVE,
    POSITIVE_PROPORTION,
    PROPORTION,
)

CONTEXT: Final = ("runtime", "maxModelLen")
SAMPLING: Final = ("defaults", "parameters")
STOP: Final = (*SAMPLING, "stop")
_MOST_CHARACTERS: Final = 32  # of a number, before a stranger's exponent is written out


@dataclass(frozen=True)
class Served:
    """`read` raises ValueError that says what a value must be; its None is the engine's own."""

    path: tuple[str, ...]  # below spec
    read: Callable[[str], Any]


@dataclass(frozen=True)
class Unserved:
    why: str
    off: tuple[str, ...] = ()  # values that ask for nothing
    fix: str = ""  # of what changes answers, and is refused for it


def of(name: str, value: str) -> Said:
    if name in SERVED:
        return _served(name, value)
    if name not in UNSERVED:
        near = get_close_matches(name, [*SERVED, *UNSERVED], n=1)
        fix = f"write {near[0]}" if near else f"use one of {', '.join(sorted(SERVED))}"
        return Problem(f"PARAMETER {name}: there is no such parameter; {fix}")
    unserved = UNSERVED[name]
    if value in unserved.off:
        return None
    said = f"PARAMETER {name} {value}: {unserved.why}"
    return Problem(f"{said}; {unserved.fix}") if unserved.fix else Remark(said)


def _served(name: str, value: str) -> Said:
    try:
        found = SERVED[name].read(value)
    except ValueError as error:
        return Problem(f"PARAMETER {name} {value}: {error}; change it")
    return None if found is None else Part(SERVED[name].path, found)


def _integer(low: int, high: int, *unset: int) -> Callable[[str], int | None]:
    """`unset` are Ollama's numbers for what is the engine's own default."""

    def read(text: str) -> int | None:
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
        if number in unset:
            return None
        if number is None or not low <= number <= high:
            also = "".join(f", or {one}" for one in unset)
            raise ValueError(f"must be an integer from {low} to {high}{also}")
        return number

    return read


def _decimal(pattern: str, said: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        found = _plain(text)
        if found is None or len(found) > MAX_NUMBER_CHARACTERS or not re.search(pattern, found):
            raise ValueError(
                f"must be a number {said}, of at most {MAX_NUMBER_CHARACTERS} characters"
            )
        return found

    return read


def _plain(text: str) -> str | None:
    """`.50` is 0.5 and `1e-1` is 0.1; None for what is no number."""
    try:
        number = Decimal(text) if len(text) <= _MOST_CHARACTERS else Decimal("NaN")
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number.adjusted()) > _MOST_CHARACTERS:
        return None
    plain = f"{number:f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if number == 0 else plain


def _stop(text: str) -> list[str]:
    if not 1 <= len(text) <= MAX_STOP_CHARACTERS:
        raise ValueError(f"must have 1 to {MAX_STOP_CHARACTERS} characters")
    return [text]


def _sampled(field: str, read: Callable[[str], Any]) -> Served:
    return Served((*SAMPLING, field), read)


SERVED: Final[Mapping[str, Served]] = {
    "num_ctx": Served(CONTEXT, _integer(1, MAX_CONTEXT_TOKENS, 0)),
    "num_predict": _sampled("maxTokens", _integer(1, MAX_CONTEXT_TOKENS, -1, -2)),
    "temperature": _sampled("temperature", _decimal(DECIMAL, "from 0 to below 100")),
    "top_k": _sampled("topK", _integer(0, MAX_TOP_K, -1)),
    "top_p": _sampled("topP", _decimal(POSITIVE_PROPORTION, "above 0 and at most 1")),
    "min_p": _sampled("minP", _decimal(PROPORTION, "from 0 to 1")),
    "repeat_penalty": _sampled("repetitionPenalty", _decimal(POSITIVE, "above 0 and below 100")),
    "presence_penalty": _sampled("presencePenalty", _decimal(PENALTY, "from -2 to 2")),
    "frequency_penalty": _sampled("frequencyPenalty", _decimal(PENALTY, "from -2 to 2")),
    "seed": _sampled("seed", _integer(0, MAX_SEED, -1)),
    "stop": Served(STOP, _stop),
}

_PLANNED: Final = "Berth plans it from the model and the accelerator"
_LLAMA_CPP: Final = "it is a switch of llama.cpp, which is not the engine"
_MIROSTAT: Final = "the engine has no Mirostat sampling, and Ollama itself ignores it by now"
_OTHERS: Final = "remove the line, or use min_p or top_p"

UNSERVED: Final[Mapping[str, Unserved]] = {
    "num_gpu": Unserved(f"{_PLANNED}; see spec.parallelism.tensor"),
    "main_gpu": Unserved(f"{_PLANNED}; see spec.accelerators"),
    "num_thread": Unserved(f"{_PLANNED}; see spec.resources.cpu"),
    "num_batch": Unserved(f"{_PLANNED}; see spec.runtime.maxNumBatchedTokens"),
    "num_keep": Unserved("the engine drops no part of a prompt; one that is too long is refused"),
    "numa": Unserved(_LLAMA_CPP),
    "use_mmap": Unserved(_LLAMA_CPP),
    "use_mlock": Unserved(_LLAMA_CPP),
    "low_vram": Unserved(_LLAMA_CPP),
    "f16_kv": Unserved(f"{_LLAMA_CPP}; see spec.runtime.kvCacheDtype"),
    "logits_all": Unserved(_LLAMA_CPP),
    "vocab_only": Unserved(_LLAMA_CPP),
    "draft_num_predict": Unserved(
        "the engine has a draft model only by --speculative-config in spec.runtime.extraArgs",
        off=("0",),
    ),
    "penalize_newline": Unserved("the engine has no such switch, and Ollama itself ignores it"),
    "mirostat": Unserved(_MIROSTAT, off=("0",)),
    "mirostat_tau": Unserved(_MIROSTAT),
    "mirostat_eta": Unserved(_MIROSTAT),
    "typical_p": Unserved("the engine has no typical sampling", off=("1", "1.0"), fix=_OTHERS),
    "tfs_z": Unserved("the engine has no tail-free sampling", off=("1", "1.0"), fix=_OTHERS),
    "repeat_last_n": Unserved(
        "the engine's repeat_penalty looks at the whole text, and at no window of it",
        off=("-1",),
        fix="remove the line, and for 0 repeat_penalty too",
    ),
}
