"""Kubernetes quantities and the duration strings of `keepAlive`, as integers with a unit.

Only what Berth's fields may hold: sizes in bytes, CPUs in thousandths, durations in seconds.
"""

import re
from decimal import Decimal
from math import ceil
from typing import Final

_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL: Final = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
}
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E|)")
_DURATION_SECONDS: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse(text: str | int) -> Decimal:
    """A quantity's plain value: `parse("1.5Gi") == 1610612736`. ValueError if it is none."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write for example 80Gi, 1500m or 4")
    number, suffix = match.groups()
    return Decimal(number) * (_BINARY.get(suffix) or _DECIMAL[suffix])


def parse_bytes(text: str | int) -> int:
    """Bytes, rounded up."""
    return ceil(parse(text))


def parse_millicpu(text: str | int) -> int:
    """Thousandths of a CPU, rounded up."""
    return ceil(parse(text) * 1000)


def format_bytes(count: int) -> str:
    """For people: `format_bytes(1610612736) == "1.50 GiB"`."""
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        if abs(count) >= _BINARY[suffix]:
            return f"{count / _BINARY[suffix]:.2f} {suffix}B"
    return f"{count} B"


def mebibytes(count: int) -> str:
    """As a Kubernetes quantity in whole MiB, rounded up: what a pod requests."""
    return f"{-(-count // _BINARY['Mi'])}Mi"


def parse_duration(text: str | int) -> int | None:
    """Seconds of an Ollama duration (`"5m"`, `"1h30m"`, `"300"`, `0`); None means for ever.

    Negative values mean for ever, as Ollama has it. ValueError if it is no duration.
    """
    plain = str(text).strip()
    if plain.startswith("-"):
        parse_duration(plain[1:])
        return None
    if plain.isdigit():
        return int(plain)
    parts = list(_DURATION_PART.finditer(plain))
    if not parts or "".join(part.group(0) for part in parts) != plain:
        raise ValueError(f'{text!r} is not a duration; write for example "5m", "300" or "-1"')
    return int(sum(Decimal(part[1]) * _DURATION_SECONDS[part[2]] for part in parts))
