"""What one command of a Modelfile comes to: a part of the spec, a refusal, or a remark."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """`path` is below spec; lists are added up, other values replace what was there."""

    path: tuple[str, ...]
    value: Any


@dataclass(frozen=True)
class Problem:
    """Why the file cannot be served as it is, with the fix."""

    text: str


@dataclass(frozen=True)
class Remark:
    """What the command asks for and Berth does not need, or does by itself."""

    text: str


Said = Part | Problem | Remark | None
"""None: what it asks for is as it is without it."""
