"""How long a request wants its model to stay loaded, in Ollama's forms and in LM Studio's.

`keep_alive` is a number of seconds or a Go duration (time.ParseDuration), `ttl` a number of
seconds; what is below zero means for ever.
"""

import re
from math import isfinite
from typing import Any, Final

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.jsontext import shown

FOREVER: Final = -1.0
# What Go's durations can hold, 292 years: as good as for ever.
_MOST_SECONDS: Final = 2**63 / 1e9
_UNITS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_PART: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION: Final = re.compile(rf"([-+]?)((?:{_PART.pattern})+|0)")
_MAX_CHARACTERS: Final = 64  # of a duration: "2562047h47m16.854775807s" has 24


def keep_alive(value: Any) -> float | None:
    """Seconds; FOREVER; None where the request does not say. Refusal (400)."""
    if value is None:
        return None
    seconds = _duration(value) if isinstance(value, str) else _number(value)
    if seconds is None:
        message = (
            f"keep_alive is {shown(value)}; it must be a number of seconds, or a duration "
            'such as "5m" or "-1s"; below 0 is for ever'
        )
        raise Refusal(Kind.BAD_REQUEST, message, param="keep_alive")
    return _bounded(seconds)


def ttl(value: Any) -> float | None:
    """As `keep_alive`; a number of seconds only."""
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None:
        message = f"ttl is {shown(value)}; it must be a number of seconds; below 0 is for ever"
        raise Refusal(Kind.BAD_REQUEST, message, param="ttl")
    return _bounded(seconds)


def longer(one: float | None, other: float | None) -> float | None:
    """The longer of two; None is the shortest of all."""
    if one is None or other is None:
        return other if one is None else one
    return FOREVER if FOREVER in {one, other} else max(one, other)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):  # one of a thousand digits is no float
        return float(max(-1, min(value, int(_MOST_SECONDS) + 1)))
    return value if isfinite(value) else None


def _duration(text: str) -> float | None:
    found = _DURATION.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if found is None:
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[2]))
    return -seconds if found[1] == "-" else seconds


def _bounded(seconds: float) -> float:
    return FOREVER if seconds < 0 or seconds >= _MOST_SECONDS else seconds
