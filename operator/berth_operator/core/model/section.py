"""Reading a stranger's config.json: every number is looked for, checked and bounded.

Names differ between families of models, and what a file leaves out has the default of its
family's configuration class (transformers 5.19, which the engine 0.32 reads configurations with).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# Far beyond any model, and small enough that products of a few stay sane to print.
MOST: Final = 2**24
# Contexts and windows in tokens: Llama 4 Scout has 10,485,760.
MOST_TOKENS: Final = 2**31
# Layers of one model: some thirty times the deepest known (Llama 3.1 405B has 126), and few enough
# that whatever is worked out for each of them is done at once.
MOST_LAYERS: Final = 4096


class Unreadable(ValueError):
    """A value that cannot be, with what would do instead."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True)
class Section:
    """One object of a config.json, with its family's defaults behind it."""

    values: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def has(self, *names: str) -> bool:
        return any(self._value(name) is not None for name in names)

    def number(self, *names: str, most: int = MOST) -> int:
        """The first of `names` that is said, from 1 to `most`. Raises Unreadable."""
        found = self.optional(*names, most=most)
        if not found:
            raise Unreadable(
                f"config.json has no usable {names[0]}",
                f"use a model whose config.json gives {names[0]} as a whole number above 0",
            )
        return found

    def optional(self, *names: str, default: int = 0, most: int = MOST) -> int:
        """The same; `default` where none is said, or is said to be 0. Raises Unreadable."""
        for name in names:
            value = self._value(name)
            if value is not None:
                return _whole(name, value, most) or default
        return default

    def fraction(self, *names: str, default: float = 1.0) -> float:
        for name in names:
            value = self._value(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
                return float(value)
        return default

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._value(name)
        return value if isinstance(value, bool) else default

    def text(self, *names: str) -> str:
        for name in names:
            value = self._value(name)
            if isinstance(value, str) and value:
                return value
        return ""

    def inner(self, *names: str) -> "Section | None":
        """The first of `names` that is an object of its own."""
        for name in names:
            value = self._value(name)
            if isinstance(value, Mapping) and value:
                return Section(value, {})
        return None

    def counts(self, name: str) -> Mapping[str, int]:
        """How often each word stands in a list, or in the shape Job's count of one."""
        value = self._value(name)
        found: dict[str, int] = {}
        if isinstance(value, Mapping):
            return {str(word): _whole(name, count, MOST_LAYERS) for word, count in value.items()}
        for word in value if isinstance(value, list) else ():
            found[str(word)] = found.get(str(word), 0) + 1
        return found

    def _value(self, name: str) -> Any:
        value = self.values.get(name)
        return self.defaults.get(name) if value is None else value


def _whole(name: str, value: Any, most: int) -> int:
    if isinstance(value, list) and value:
        return max(_scalar(name, item, most) for item in value)  # one number per layer
    return _scalar(name, value, most)


def _scalar(name: str, value: Any, most: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise Unreadable(
            f"config.json says {name} is {_shown(value)}, which is no whole number up to {most:,}",
            f"correct {name} in config.json, or use the model's published files",
        )
    return value


# Python writes no longer integers out (sys.get_int_max_str_digits), and nobody reads such.
_MOST_SHOWN_BITS: Final = 128
_MOST_SHOWN_CHARACTERS: Final = 40


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > _MOST_SHOWN_BITS:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, list | Mapping):
        return "a list" if isinstance(value, list) else "an object"
    return repr(str(value)[:_MOST_SHOWN_CHARACTERS])
