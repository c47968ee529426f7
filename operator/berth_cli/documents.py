"""Files of strangers as plain JSON values, or a sentence about what is wrong with them.

YAML has more than Kubernetes takes: a key that is written twice, dates, and aliases by which a few
hundred bytes stand for gigabytes. All of it is looked for in the parsed nodes, before any value is
made of them.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from berth_cli.errors import InputError

STANDARD_INPUT: Final = Path("-")
# Characters of one object with its aliases written out: what etcd stores of one (its default
# --max-request-bytes, 1.5 MiB).
MOST_CHARACTERS: Final = 1536 * 1024
# Lists and objects within each other. A ModelDeployment has 7, a config.json some 5; the code
# behind this module reads with Python's stack.
MOST_LEVELS: Final = 64

_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
Where = tuple[str | int, ...]


def text_of(option: str, path: Path) -> str:
    """A file's text. Raises InputError."""
    try:
        return sys.stdin.read() if path == STANDARD_INPUT else path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {path}: {error}; name a file that can be read") from error


def of_yaml(text: str, what: str) -> list[Any]:
    """Each document as JSON would have it. Raises InputError, which begins with `what`."""
    try:
        return [_as_json(one) for one in _loaded(text)]
    except _Refused as refused:
        raise InputError(f"{what}: {refused}") from refused
    except yaml.YAMLError as error:
        raise InputError(f"{what}: not YAML: {error}; mend the line that is named") from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{what}: a value that JSON cannot hold: {_first(error)}; write numbers of at most 18 "
            "digits, text, lists and mappings only"
        ) from error
    except RecursionError as error:
        raise InputError(f"{what}: {_TOO_DEEP}") from error


def of_json(text: str, what: str, fix: str) -> Any:
    """Raises InputError, which begins with `what` and, where it is no JSON, ends with `fix`."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{what}: not JSON: {_first(error)}; {fix}") from error
    except RecursionError as error:
        raise InputError(f"{what}: {_TOO_DEEP}") from error
    refuse_foreign(found, what)
    return found


def refuse_foreign(value: Any, what: str) -> None:
    """What no plan can be made or written of. Raises InputError, which begins with `what`."""
    level = _held([value])
    for _ in range(MOST_LEVELS):
        level = _held(inner for one in level for inner in _inside(one))
    if level:
        raise InputError(f"{what}: {_TOO_DEEP}")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what}: text that is no Unicode: {_first(error)}; remove that escape"
        ) from error


def path_of(where: Where) -> str:
    """`("spec", "accelerators", 0, "profile")` is spec.accelerators[0].profile."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return "".join(parts).removeprefix(".")


_TOO_DEEP: Final = (
    f"more than {MOST_LEVELS} lists and mappings are within each other; write fewer, no field of "
    "Berth's and no model's configuration needs so many"
)


def _as_json(value: Any) -> Any:
    """Raises ValueError, TypeError for what JSON in UTF-8 cannot hold."""
    found = json.loads(json.dumps(value, allow_nan=False))
    json.dumps(found, ensure_ascii=False).encode()
    return found


def _first(error: Exception) -> str:
    """Without Python's advice to programmers."""
    return str(error).partition(";")[0]


def _held(values: Iterable[Any]) -> list[Any]:
    return [one for one in values if isinstance(one, dict | list)]


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


class _Refused(Exception):
    """What YAML allows and Kubernetes does not; the message says where."""


class _Loader(yaml.SafeLoader):
    """Dates stay text, as they do on their way to Kubernetes."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != _TIMESTAMP]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _loaded(text: str) -> Iterator[Any]:
    for node in yaml.compose_all(text, _Loader):
        _Walk().extent(node, ())
        yield _Loader("").construct_document(node)


@dataclass(frozen=True)
class _Extent:
    """Of a node with its aliases written out."""

    characters: int
    levels: int


@dataclass(frozen=True)
class _Walk:
    """Through each node once, however many aliases lead to it."""

    known: dict[int, _Extent | None] = field(default_factory=dict)  # by id; None: not yet left

    def extent(self, node: Node, where: Where) -> _Extent:
        """Raises _Refused."""
        if id(node) not in self.known:
            self.known[id(node)] = None
            self.known[id(node)] = self._measured(node, where)
        found = self.known[id(node)]
        if found is None:
            raise _Refused(f"{path_of(where)}: an alias of what it is in; write the value out")
        return found

    def _measured(self, node: Node, where: Where) -> _Extent:
        if not isinstance(node, CollectionNode):
            return _Extent(1 + len(node.value), 0)
        inside = [self.extent(one, place) for one, place in _children(node, where)]
        found = _Extent(
            1 + sum(one.characters for one in inside),
            1 + max((one.levels for one in inside), default=0),
        )
        if found.characters > MOST_CHARACTERS:
            raise _Refused(
                f"{path_of(where) or 'the document'}: {found.characters} characters with its "
                f"aliases written out, and Kubernetes stores {MOST_CHARACTERS}; write less"
            )
        if found.levels > MOST_LEVELS:
            raise _Refused(_TOO_DEEP)
        return found


def _children(node: CollectionNode, where: Where) -> Iterator[tuple[Node, Where]]:
    """Values with their places, and keys. Raises _Refused for a key that is there twice."""
    if not isinstance(node, MappingNode):
        yield from ((one, (*where, index)) for index, one in enumerate(node.value))
        return
    written: dict[str, int] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, ScalarNode) else "?"
        place = (*where, name)
        line = key.start_mark.line + 1
        if name in written and isinstance(key, ScalarNode):
            raise _Refused(
                f"{path_of(place)}: written twice, on line {written[name]} and on line {line}, and "
                "only one would be taken; remove one"
            )
        written[name] = line
        yield key, place
        yield value, place
