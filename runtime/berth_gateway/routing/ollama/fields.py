"""Fields of Ollama's bodies by their types, as its own server takes them: null is not given."""

from collections.abc import Mapping
from typing import Any, TypeVar

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.jsontext import shown

Json = Mapping[str, Any]
Found = TypeVar("Found")


def text(fields: Json, name: str, where: str = "") -> str:
    return _typed(fields, name, where, str, "a string") or ""


def flag(fields: Json, name: str) -> bool | None:
    return _typed(fields, name, "", bool, "true or false")


def objects(fields: Json, name: str, where: str = "") -> list[Json]:
    return _listed(fields, name, where, dict, "objects")


def texts(fields: Json, name: str, where: str = "") -> list[str]:
    return _listed(fields, name, where, str, "strings")


def document(fields: Json, name: str, where: str = "") -> dict[str, Any]:
    return _typed(fields, name, where, dict, "an object") or {}


def number(fields: Json, name: str) -> int:
    """Go has zero where there is none, and no booleans among its numbers."""
    value = fields.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(name, value, "an integer")
    return value


def wrong(name: str, value: object, wanted: str) -> Refusal:
    message = f"{name} is {shown(value)}; it must be {wanted}"
    return Refusal(Kind.BAD_REQUEST, message, param=name)


def _typed(fields: Json, name: str, where: str, kind: type[Found], wanted: str) -> Found | None:
    value = fields.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise wrong(where + name, value, wanted)


def _listed(fields: Json, name: str, where: str, kind: type[Found], wanted: str) -> list[Found]:
    values = _typed(fields, name, where, list, f"an array of {wanted}") or []
    for row, value in enumerate(values):
        if not isinstance(value, kind):
            raise wrong(f"{where}{name}[{row}]", value, f"one of an array of {wanted}")
    return values
