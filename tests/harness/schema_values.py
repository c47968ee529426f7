"""Values that a pydantic type's own JSON schema allows, and others beside them."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

Node = Mapping[str, Any]

# Whatever JSON can say, the numbers that break readers among it.
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, -(2**63), 10**400])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
_INT64 = st.integers(-(2**63), 2**63 - 1)


def allowed(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Objects, as JSON, that `model` takes."""
    document = model.model_json_schema(by_alias=True)
    return _of(document, document.get("$defs", {}))


def _of(node: Node, definitions: Mapping[str, Node]) -> st.SearchStrategy[Any]:
    if "$ref" in node:
        return _of(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    if "anyOf" in node:  # null is an absent field to the API server
        choices = [one for one in node["anyOf"] if one.get("type") != "null"]
        return st.one_of([_of(one, definitions) for one in choices])
    if "const" in node or "enum" in node:
        return st.sampled_from(node.get("enum", [node.get("const")]))
    return _BY_TYPE[node["type"]](node, definitions)


def _object(node: Node, definitions: Mapping[str, Node]) -> st.SearchStrategy[Any]:
    if "properties" not in node:
        return st.dictionaries(st.text(max_size=10), _inner(node, definitions), max_size=3)
    fields = {name: _of(field, definitions) for name, field in node["properties"].items()}
    required = set(node.get("required", ()))
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


def _inner(node: Node, definitions: Mapping[str, Node]) -> st.SearchStrategy[Any]:
    inner = node.get("additionalProperties")
    return _of(inner, definitions) if isinstance(inner, dict) else ANYTHING


def _array(node: Node, definitions: Mapping[str, Node]) -> st.SearchStrategy[Any]:
    return st.lists(_of(node["items"], definitions), max_size=min(3, node.get("maxItems", 3)))


def _string(node: Node, _: Mapping[str, Node]) -> st.SearchStrategy[str]:
    most = node.get("maxLength", 40)
    if "pattern" in node:
        return st.from_regex(
            node["pattern"], fullmatch=True, alphabet=st.characters(codec="ascii")
        ).filter(lambda text: len(text) <= most)
    return st.text(min_size=node.get("minLength", 0), max_size=min(40, most))


def _integer(node: Node, _: Mapping[str, Node]) -> st.SearchStrategy[int]:
    low, high = node.get("minimum"), node.get("maximum")
    if low is None and high is None:
        return _INT64
    low, high = -(2**63) if low is None else low, 2**63 - 1 if high is None else high
    return st.sampled_from([low, high]) | st.integers(low, high)


_BY_TYPE = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "boolean": lambda _node, _definitions: st.booleans(),
    "number": lambda _node, _definitions: st.floats(allow_nan=False, allow_infinity=False),
}
