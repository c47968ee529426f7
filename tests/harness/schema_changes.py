"""What a changed CustomResourceDefinition takes away from objects that are stored already.

Pure: two definitions in, one sentence for each field, value or freedom that is gone. What was added
is no business of a stored object, unless it is required or judges it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]

_UPPER_LIMITS = ("maximum", "maxLength", "maxItems", "maxProperties")
_LOWER_LIMITS = ("minimum", "minLength", "minItems", "minProperties")
# What must stay as it was: there is no telling which of two is the wider.
_FIXED = (
    "type",
    "format",
    "pattern",
    "anyOf",
    "default",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
)
_IDENTITY = ("group", "scope", "names")


def narrowed(before: Node, after: Node) -> list[str]:
    """Of two CustomResourceDefinitions."""
    found = [
        f"spec.{field} has changed"
        for field in _IDENTITY
        if before["spec"][field] != after["spec"][field]
    ]
    now = {version["name"]: version for version in after["spec"]["versions"] if version["served"]}
    for version in before["spec"]["versions"]:
        name = version["name"]
        if name not in now:
            found.append(f"version {name} is no longer served")
            continue
        found += _version(version, now[name])
    return found


def _version(before: Node, after: Node) -> Iterator[str]:
    if after.get("subresources") != before.get("subresources"):
        yield f"the subresources of {before['name']} have changed"
    yield from _node(before["schema"]["openAPIV3Schema"], after["schema"]["openAPIV3Schema"], "")


def _node(before: Node, after: Node, path: str) -> Iterator[str]:
    where = path or "the object"
    yield from (f"{where}: {found}" for found in _limits(before, after))
    yield from (f"{where}: {found}" for found in _values(before, after))
    yield from (f"{where}: a new rule: {rule}" for rule in sorted(_rules(after) - _rules(before)))
    for name, node in before.get("properties", {}).items():
        inner = f"{path}.{name}".lstrip(".")
        now = after.get("properties", {}).get(name)
        yield from [f"{inner}: is gone"] if now is None else _node(node, now, inner)
    for nested in ("items", "additionalProperties"):
        if isinstance(before.get(nested), Mapping):
            yield from _node(before[nested], after.get(nested, {}), f"{path}[]")


def _limits(before: Node, after: Node) -> Iterator[str]:
    for limit in (*_UPPER_LIMITS, *_LOWER_LIMITS):
        was, now = before.get(limit), after.get(limit)
        higher = limit in _LOWER_LIMITS
        if now is not None and (was is None or (now > was if higher else now < was)):
            yield f"{limit} is {now}, was {'free' if was is None else was}"


def _values(before: Node, after: Node) -> Iterator[str]:
    for name in _FIXED:
        if before.get(name) != after.get(name):
            yield f"{name} is {after.get(name)!r}, was {before.get(name)!r}"
    if "enum" in after:
        gone = set(before.get("enum", ())) - set(after["enum"])
        yield from (f"{value!r} is no longer taken" for value in sorted(gone))
        if "enum" not in before:
            yield f"only {after['enum']} are taken"
    for name in sorted(set(after.get("required", ())) - set(before.get("required", ()))):
        yield f"{name} is now required"


def _rules(node: Node) -> set[str]:
    """By what they ask for; their words may change."""
    return {rule["rule"] for rule in node.get("x-kubernetes-validations", ())}
