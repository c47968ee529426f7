"""Fields by which one small request makes an engine do much work, or work that is not the model's.

Two tables: numbers with a limit, and fields that pass only where an administrator allows them.
Each is read twice: `fit` looks at the JSON as it is written, for every request; `check` looks at
what was read of the few that did not fit, decides, and says what is wrong.
"""

from collections.abc import Mapping
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.jsontext import shown
from berth_gateway.settings import CLOSED_FIELDS, Limits

ABSENT: Final = msgspec.Raw(b"null")


class Number(NamedTuple):
    """A field that must be an integer from `least` to the limit of that name in `Limits`."""

    field: str
    least: int
    limit: str
    flag: bool = False  # a boolean is as good


_USUAL: Final = Number("max_tokens", 0, "output_tokens")
NUMBERS: Final = (
    Number("n", 1, "choices"),
    Number("best_of", 1, "choices"),
    # Nothing is generated where only the prompt's own probabilities are wanted.
    _USUAL,
    Number("max_completion_tokens", 0, "output_tokens"),
    Number("max_output_tokens", 0, "output_tokens"),
    Number("logprobs", 0, "logprobs", flag=True),  # a flag in a chat
    Number("top_logprobs", 0, "logprobs"),
    Number("prompt_logprobs", 0, "logprobs"),
)

SWITCHES: Final = "chat_template_kwargs"
_MAX_SWITCH_CHARACTERS: Final = 64  # "enable_thinking": false, "reasoning_effort": "high"
_ENGINES_OWN: Final = frozenset({"chat_template", "tokenize"})  # arguments of the call itself
_SWITCHES: Final = msgspec.json.Decoder(dict[str, bool | int | float | str | None])

_RARER: Final = tuple(one for one in NUMBERS if one != _USUAL)
FIELDS: Final = (*(one.field for one in NUMBERS), *CLOSED_FIELDS)
_rarer: Final = attrgetter(*(one.field for one in _RARER), *CLOSED_FIELDS)
_ALL_ABSENT: Final = (ABSENT,) * (len(FIELDS) - 1)
_NULL: Final = b"null"
_MAX_DIGITS: Final = 18  # a number of a million digits is no number to parse
_FLAGS: Final = frozenset({b"true", b"false"})


class Fields(Protocol):
    max_tokens: msgspec.Raw  # and `FIELDS`


def fit(fields: Fields, limits: Limits) -> bool:
    """Whether `FIELDS`, attributes with the JSON of each, are certainly within their bounds."""
    usual = fields.max_tokens  # most requests have this one, and no other
    if usual is not ABSENT and not _number_fits(_USUAL, bytes(usual), limits):
        return False
    found: tuple[msgspec.Raw, ...] = _rarer(fields)
    return found == _ALL_ABSENT or all(
        value is ABSENT or fits(bytes(value), limits)
        for fits, value in zip(_RULES, found, strict=True)
    )


def _number_fits(number: Number, text: bytes, limits: Limits) -> bool:
    if len(text) <= _MAX_DIGITS and text.isdigit():
        limit: int = getattr(limits, number.limit)
        return number.least <= int(text) <= limit
    return text == _NULL or (number.flag and text in _FLAGS)


def _closed_fits(name: str, text: bytes, limits: Limits) -> bool:
    if text == _NULL or name in limits.allowed_fields:
        return True
    if name != SWITCHES:
        return False
    try:
        return _are_switches(_SWITCHES.decode(text))
    except msgspec.MsgspecError:
        return False


_RULES: Final = (
    *(partial(_number_fits, number) for number in _RARER),
    *(partial(_closed_fits, name) for name in CLOSED_FIELDS),
)


def check(fields: Mapping[str, Any], limits: Limits) -> None:
    """Refusal (400) with the field, its value, the limit and what to do, if one is beyond it."""
    for number in NUMBERS:
        _check_number(number, fields.get(number.field), getattr(limits, number.limit))
    for name, reason in CLOSED_FIELDS.items():
        value = fields.get(name)
        if value is None or name in limits.allowed_fields:
            continue
        if name != SWITCHES or not _are_switches(value):
            message = f"{name} is not accepted by this gateway: {reason}; leave it out"
            raise Refusal(Kind.BAD_REQUEST, message, param=name)


def _check_number(number: Number, value: Any, limit: int) -> None:
    """Anything but an integer is refused too: engines coerce "9999" and 1e9 into numbers."""
    if value is None or (number.flag and isinstance(value, bool)):
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole and number.least <= value <= limit):
        message = (
            f"{number.field} is {shown(value)}; "
            f"it must be an integer from {number.least} to {limit}"
        )
        raise Refusal(Kind.BAD_REQUEST, message, param=number.field)


def _are_switches(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _ENGINES_OWN.isdisjoint(value)
        and all(_is_switch(one) for one in value.values())
    )


def _is_switch(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_SWITCH_CHARACTERS
    return value is None or isinstance(value, (bool, int, float))
