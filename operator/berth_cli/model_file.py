"""Reads a ModelDeployment from a file, and refuses what `kubectl apply` would refuse as a field.

Rules in CEL are the API server's alone: nothing here can evaluate them.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from berth_api import names
from berth_api.rules import MUST
from berth_api.types import ModelDeployment
from berth_cli.errors import InputError

STANDARD_INPUT: Final = Path("-")
# A value in a message: enough to find it by.
_SHOWN_CHARACTERS: Final = 80
# What the API server would have added.
_IDENTITY: Final = {"namespace": "default", "uid": "00000000-0000-0000-0000-000000000000"}
_SCHEMA: Final[Mapping[str, Any]] = ModelDeployment.model_json_schema(by_alias=True)
# Kubernetes' own, which the schema does not hold; and the operator's own.
_ENVELOPE: Final = frozenset({"apiVersion", "kind", "metadata", "status"})

Where = tuple[str | int, ...]


def read(path: Path) -> dict[str, Any]:
    """The only ModelDeployment of a file, as if it had just been applied. Raises InputError."""
    found = [one for one in _documents(path) if one.get("kind") == names.KIND]
    if len(found) != 1:
        raise InputError(
            f"-f {path}: {len(found)} objects of kind {names.KIND} are in it, and one is planned "
            "at a time; give a file with one"
        )
    problems = tuple(_problems(found[0]))
    if problems:
        raise InputError("\n".join(f"-f {path}: {problem}" for problem in problems))
    return found[0] | {"metadata": _IDENTITY | found[0]["metadata"]}


def text_of(option: str, path: Path) -> str:
    """A file's text. Raises InputError."""
    try:
        return sys.stdin.read() if path == STANDARD_INPUT else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{option} {path}: {error}; name a file that can be read") from error


def _documents(path: Path) -> list[dict[str, Any]]:
    try:
        loaded = list(yaml.safe_load_all(text_of("-f", path)))
    except yaml.YAMLError as error:
        raise InputError(f"-f {path}: not YAML: {error}; mend the line that is named") from error
    return [one for one in loaded if isinstance(one, dict)]


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    """In the order in which a person mends them: the envelope, misspelt fields, wrong values."""
    if document.get("apiVersion") != names.API_VERSION:
        yield f"apiVersion: {document.get('apiVersion')!r}: must be {names.API_VERSION}"
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        yield "metadata.name: is missing; give the model a name"
    spec = {name: value for name, value in document.items() if name not in _ENVELOPE}
    yield from _unknown_fields(spec, _SCHEMA, ())
    try:
        ModelDeployment.model_validate(document)
    except ValidationError as invalid:
        yield from _wrong_values(document, invalid)


def _unknown_fields(value: Any, schema: Mapping[str, Any], where: Where) -> Iterator[str]:
    """Fields that the schema does not have, which kubectl's strict validation refuses."""
    known = _resolved(schema)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_fields(item, known.get("items", {}), (*where, index))
    properties = known.get("properties")
    if not isinstance(value, Mapping) or properties is None:
        return
    for name, inner in value.items():
        if name in properties:
            yield from _unknown_fields(inner, properties[name], (*where, name))
            continue
        near = get_close_matches(str(name), properties, n=1)
        hint = f"write {near[0]}" if near else f"use one of {', '.join(sorted(properties))}"
        yield f"{_path((*where, name))}: {_shown(inner)}: there is no such field; {hint}"


def _wrong_values(document: Mapping[str, Any], invalid: ValidationError) -> Iterator[str]:
    """One line for each field, whatever the number of spellings it allows."""
    by_field: dict[Where, list[str]] = {}
    for error in invalid.errors(include_url=False):
        where = _real(error["loc"], document)
        missing = error["type"] == "missing"
        place = (*where, error["loc"][len(where)]) if missing else where
        by_field.setdefault(place, []).append(error["msg"])
    for where, messages in by_field.items():
        value, must = _at(document, where), _must(where)
        said = f"must {must}" if must else ", or ".join(dict.fromkeys(messages))
        shown = "is missing" if value is None else _shown(value)
        yield f"{_path(where)}: {shown}: {said}"


def _real(where: Sequence[str | int], document: Any) -> Where:
    """Without the tags that pydantic adds for the alternatives of a union."""
    found: list[str | int] = []
    for part in where:
        if not _has(document, part):
            break
        document = document[part]
        found.append(part)
    return tuple(found)


def _has(document: Any, part: str | int) -> bool:
    if isinstance(document, list):
        return isinstance(part, int) and part < len(document)
    return isinstance(document, Mapping) and part in document


def _at(document: Any, where: Where) -> Any:
    """The value there; None if there is none."""
    for part in where:
        if not _has(document, part):
            return None
        document = document[part]
    return document


def _must(where: Where) -> str | None:
    """How the schema says that a valid value is spelt."""
    schema: Mapping[str, Any] = _SCHEMA
    for part in where:
        known = _resolved(schema)
        schema = known.get("items", {}) if isinstance(part, int) else known["properties"][part]
    said = [one[MUST] for one in (schema, *schema.get("anyOf", ())) if MUST in one]
    return said[0] if said else None


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Behind a reference, and behind "or nothing"."""
    definitions: Mapping[str, Mapping[str, Any]] = _SCHEMA["$defs"]
    spellings: list[Mapping[str, Any]] = [schema, *schema.get("anyOf", ())]
    for one in spellings:
        if "$ref" in one:
            return definitions[one["$ref"].rpartition("/")[2]]
        if "properties" in one or "items" in one:
            return one
    return schema


def _path(where: Where) -> str:
    """`("spec", "accelerators", 0, "profile")` is spec.accelerators[0].profile."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return "".join(parts).removeprefix(".")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
