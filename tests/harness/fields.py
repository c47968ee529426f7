"""Which fields a definition's specs have, for pages that name them."""

import re
from collections.abc import Iterator

from pydantic import BaseModel

_FIELD = re.compile(r"\bspec\.([a-zA-Z.]+[a-zA-Z])")


def named(text: str) -> set[str]:
    """Every `spec.some.field` of a text, without `spec.`."""
    return set(_FIELD.findall(text))


def missing(found: set[str], *specs: type[BaseModel]) -> Iterator[str]:
    """Those that are in none of the specs."""
    schemas = [spec.model_json_schema(by_alias=True) for spec in specs]
    for field in sorted(found):
        if not any(_is_in(schema, field) for schema in schemas):
            yield field


def _is_in(schema: dict, field: str) -> bool:
    node = schema
    for part in field.split("."):
        reference = next(
            (one["$ref"] for one in (node, *node.get("anyOf", ())) if "$ref" in one), None
        )
        node = schema["$defs"][reference.rpartition("/")[2]] if reference else node
        if part not in node.get("properties", {}):
            return False
        node = node["properties"][part]
    return True
