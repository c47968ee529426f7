"""Reads a ModelDeployment from a file, and refuses what `kubectl apply` would refuse of it."""

import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from berth_api import names
from berth_api.model_deployment import ModelDeployment
from berth_api.rules import MUST
from berth_cli import admission, metadata
from berth_cli.documents import Where, of_yaml, path_of, text_of
from berth_cli.errors import InputError

# A value in a message: enough to find it by.
_SHOWN_CHARACTERS: Final = 80
# What the API server would have added.
_IDENTITY: Final = {"namespace": "default", "uid": "00000000-0000-0000-0000-000000000000"}
_SCHEMA: Final[Mapping[str, Any]] = ModelDeployment.model_json_schema(by_alias=True)
# Kubernetes' own, which the schema does not hold; and the operator's own.
_ENVELOPE: Final = frozenset({"apiVersion", "kind", "metadata", "status"})


def read(path: Path) -> dict[str, Any]:
    """The only ModelDeployment of a file, as if it had just been applied. Raises InputError."""
    found = [one for one in _documents(path) if one.get("kind") == names.KIND]
    if len(found) != 1:
        raise InputError(
            f"-f {path}: {len(found)} objects of kind {names.KIND} are in it, and one is planned "
            "at a time; give a file with one"
        )
    # What is applied has no status: the API server leaves it out.
    model = {name: value for name, value in found[0].items() if name != "status"}
    wrong = tuple(problems(model))
    if wrong:
        raise InputError("\n".join(f"-f {path}: {one}" for one in wrong))
    return model | {"metadata": _IDENTITY | model["metadata"]}


def _documents(path: Path) -> list[dict[str, Any]]:
    found = of_yaml(text_of("-f", path), f"-f {path}")
    return [one for one in found if isinstance(one, dict)]


def problems(document: Mapping[str, Any]) -> Iterator[str]:
    """What the API server would refuse, in the order in which a person mends it.

    The envelope, misspelt fields, wrong values.
    """
    if document.get("apiVersion") != names.API_VERSION:
        yield f"apiVersion: {document.get('apiVersion')!r}: must be {names.API_VERSION}"
    for where, value, said in metadata.problems(document.get("metadata")):
        yield _line(where, value, said)
    spec = {name: value for name, value in document.items() if name not in _ENVELOPE}
    yield from _unknown_fields(spec, _SCHEMA, ())
    try:
        # As JSON, where a string is no number and yet names a member of an enumeration.
        typed = ModelDeployment.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as invalid:
        yield from _wrong_values(document, invalid)
        return
    for field, said in admission.of_spec(typed.spec):
        yield _line(field, _at(document, tuple(field.split("."))), said)


def _line(field: str, value: Any, said: str) -> str:
    return f"{field}: {'is missing' if value is None else _shown(value)}: {said}"


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
        yield f"{path_of((*where, name))}: {_shown(inner)}: there is no such field; {hint}"


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
        unquoted = isinstance(value, str) and value.isdecimal() and "integer" in said
        yield _line(path_of(where), value, said + ("; without quotes" if unquoted else ""))


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
        inside = known.get("items" if isinstance(part, int) else "additionalProperties", {})
        schema = known.get("properties", {}).get(part, inside)
    spellings: list[Mapping[str, Any]] = [schema, *schema.get("anyOf", ())]
    said = [one[MUST] for one in spellings if MUST in one]
    bounds = [(one["minimum"], one["maximum"]) for one in spellings if "maximum" in one]
    if said or not bounds:
        return said[0] if said else None
    auto = '"auto" or ' if any(one.get("const") == "auto" for one in spellings) else ""
    low, high = bounds[0]
    return f"be {auto}an integer from {low} to {high}"


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


def _shown(value: Any) -> str:
    text = repr(value[:_SHOWN_CHARACTERS]) if isinstance(value, str) else _short.repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _of_few() -> reprlib.Repr:
    """Of a value's beginning only: it may be as large as a file."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN_CHARACTERS
    return short


_short: Final = _of_few()
