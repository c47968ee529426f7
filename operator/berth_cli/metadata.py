"""What Kubernetes takes as an object's metadata, as far as a plan looks at it.

The definition's schema leaves metadata to Kubernetes' own rules:
https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from berth_api.spec import DNS_LABEL
from berth_cli import admission

_LABEL_CHARACTERS: Final = 63
_MOST_GENERATIONS: Final = 2**63 - 1  # an int64


def problems(given: Any) -> Iterator[tuple[str, Any, str]]:
    """Field, value and what it must be, for each that is refused."""
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        named = given.get("name") if isinstance(given, Mapping) else given
        yield "metadata.name", named, "must be text; give the model a name"
        return
    for place, said in admission.of_name(given["name"]):
        yield place, given["name"], said
    for name, (holds, must) in _FIELDS.items():
        if name in given and not holds(given[name]):
            shown = "null" if given[name] is None else given[name]
            yield f"metadata.{name}", shown, f"must be {must}; mend it, or leave it out"


def _is_namespace(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= _LABEL_CHARACTERS
        and re.fullmatch(DNS_LABEL, value) is not None
    )


def _is_generation(value: Any) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_GENERATIONS
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    """JSON's keys are text already."""
    return isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values())


_FIELDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "namespace": (
        _is_namespace,
        f"at most {_LABEL_CHARACTERS} lower-case letters, digits and '-'",
    ),
    "uid": (_is_text, "text that is not empty"),
    "generation": (_is_generation, f"an integer from 0 to {_MOST_GENERATIONS}"),
    "labels": (_is_texts, "a mapping of names to text"),
    "annotations": (_is_texts, "a mapping of names to text"),
    "deletionTimestamp": (_is_text, "a time as text"),
}
