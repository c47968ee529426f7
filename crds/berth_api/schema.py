"""From the pydantic types to the CustomResourceDefinition: one source for both.

The API server takes a narrower language than pydantic writes: no references, no unions, no nulls
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
#specifying-a-structural-schema). What cannot be said in it is an error here, not in a cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel

from berth_api import names
from berth_api.model_deployment import ModelDeployment
from berth_api.pool import ModelPool
from berth_api.rules import MUST, VALIDATIONS, rule

Node = dict[str, Any]


class Unsupported(Exception):
    """A type that a structural schema cannot say, or that the API conventions forbid."""


# Keywords that mean the same in both languages.
_KEPT: Final = (
    *("description", "type", "format", "enum", "default", "required"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", VALIDATIONS),
)
# "auto", with room for a misspelt one to be quoted back; bounds the cost of the rules.
_MAX_AUTO_LENGTH: Final = 32
# Keywords that this module turns into others or leaves out on purpose.
_TURNED: Final = (
    *("$defs", "$ref", "anyOf", "const", "title", "pattern", MUST),
    *("properties", "additionalProperties", "items"),
)


@dataclass(frozen=True)
class _Place:
    """Where the walk is: `path` is how a user writes the field, for messages."""

    definitions: Mapping[str, Node]
    path: str = ""

    def at(self, name: str) -> "_Place":
        return replace(self, path=f"{self.path}.{name}".lstrip("."))

    @property
    def in_status(self) -> bool:
        return self.path.split(".")[0] == "status"


def structural(model: type[BaseModel]) -> Node:
    """The structural schema of a model. Raises Unsupported for what it cannot say."""
    document = model.model_json_schema(by_alias=True)
    return _walk(document, _Place(document.get("$defs", {})))


def _walk(given: Node, place: _Place) -> Node:
    node = _without_null(_resolved(given, place), place)
    _refuse_unknown(node, place)
    if "anyOf" in node:
        return _auto_or_int(node, place)
    kept = {key: node[key] for key in _KEPT if key in node and _worth_keeping(key, node, place)}
    return _with_rules(kept | _nested(node, place) | _scalar(node), node, place)


def _resolved(node: Node, place: _Place) -> Node:
    """References inlined; what stands beside a reference wins."""
    reference = node.get("$ref")
    if reference is None:
        return node
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return _resolved(place.definitions[reference.removeprefix("#/$defs/")], place) | beside


def _without_null(node: Node, place: _Place) -> Node:
    """`X | None` is X: the API server prunes nulls, and an absent field says the same."""
    choices = [one for one in node.get("anyOf", []) if one.get("type") != "null"]
    if len(choices) != 1:
        return node
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    return _resolved(choices[0], place) | beside


def _refuse_unknown(node: Node, place: _Place) -> None:
    unknown = sorted(set(node) - set(_KEPT) - set(_TURNED))
    if unknown:
        raise Unsupported(f"{place.path}: a structural schema has no {', '.join(unknown)}")
    if not {"type", "anyOf"} & set(node):
        raise Unsupported(f"{place.path}: say the type; the API server drops what it cannot check")
    if node.get("type") == "number":
        raise Unsupported(f"{place.path}: the API has no floats; use a string with a pattern")
    if "pattern" in node and MUST not in node and not place.in_status:
        raise Unsupported(f"{place.path}: a pattern needs must(...), or nobody knows the fix")


def _worth_keeping(key: str, node: Node, place: _Place) -> bool:
    """Scalar defaults only: an object that is created as a few lines stays a few lines.

    Status has none: its writer owns what it writes, and nothing else.
    """
    if key != "default":
        return True
    return not place.in_status and isinstance(node["default"], (bool, int, str))


def _nested(node: Node, place: _Place) -> Node:
    if "properties" in node:
        fields = node["properties"].items()
        return {"properties": {name: _walk(field, place.at(name)) for name, field in fields}}
    if isinstance(node.get("additionalProperties"), dict):
        return {"additionalProperties": _walk(node["additionalProperties"], place)}
    if "items" in node:
        return {"items": _walk(node["items"], place)}
    if node.get("type") in {"object", "array"}:
        raise Unsupported(f"{place.path}: say what the {node['type']} holds")
    return {}


def _scalar(node: Node) -> Node:
    if "const" in node:
        return {"enum": [node["const"]]}
    return {"format": "int64"} if node.get("type") == "integer" else {}


def _with_rules(schema: Node, node: Node, place: _Place) -> Node:
    """A pattern becomes a rule, whose message can name the fix; status keeps its patterns."""
    if "pattern" not in node:
        return schema
    if MUST not in node:
        return schema | {"pattern": node["pattern"]}
    check = _must(f"self.matches({_literal(node['pattern'])})", node[MUST], "self", place)
    return schema | {VALIDATIONS: [check, *schema.get(VALIDATIONS, [])]}


def _auto_or_int(node: Node, place: _Place) -> Node:
    """`Annotated[int, Field(ge=…, le=…)] | Literal["auto"]`, the one union of the API."""
    match node["anyOf"]:
        case [
            {"type": "integer", "minimum": int(low), "maximum": int(high)},
            {"type": "string", "const": "auto"},
        ]:
            expression = f"type(self) == int ? self >= {low} && self <= {high} : self == 'auto'"
            must = f'be "auto" or an integer from {low} to {high}'
            kept = {key: node[key] for key in ("description", "default") if key in node}
            return kept | {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
                "maxLength": _MAX_AUTO_LENGTH,
                VALIDATIONS: [_must(expression, must, "string(self)", place)],
            }
        case _:
            raise Unsupported(f'{place.path}: the only union is a bounded integer or "auto"')


def _must(expression: str, must: str, value: str, place: _Place) -> dict[str, str]:
    start, end = _literal(f'{place.path} "'), _literal(f'" must {must}')
    return rule(expression, f"{place.path} must {must}", shown=f"{start} + {value} + {end}")


def _literal(text: str) -> str:
    """A CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@dataclass(frozen=True)
class Definition:
    """What one kind's definition is made from."""

    kind: str
    plural: str
    singular: str
    short_name: str
    model: type[BaseModel]
    columns: tuple[tuple[str, str, str, int], ...]

    @property
    def name(self) -> str:
        return f"{self.plural}.{names.GROUP}"


# Is it serving, and if not, why? Priority 1 is shown by `-o wide` only.
MODELS: Final = Definition(
    names.KIND,
    names.PLURAL,
    names.SINGULAR,
    names.SHORT_NAME,
    ModelDeployment,
    (
        ("Model", "string", ".spec.model.source", 0),
        ("Phase", "string", ".status.phase", 0),
        ("Progress", "string", ".status.progress", 0),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
        ("Replicas", "integer", ".status.readyReplicas", 0),
        ("TP", "integer", ".status.plan.tensorParallelSize", 0),
        ("Reason", "string", ".status.reason", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
        ("Pool", "string", ".spec.pool", 1),
        ("Desired", "integer", ".status.scaling.desiredReplicas", 1),
        ("Queue", "integer", ".status.queue.depth", 1),
        ("Accelerator", "string", ".status.plan.accelerator", 1),
        ("Context", "integer", ".status.plan.maxModelLen", 1),
        ("Commit", "string", ".status.model.commit", 1),
        ("URL", "string", ".status.url", 1),
        ("Message", "string", ".status.message", 1),
    ),
)
POOLS: Final = Definition(
    names.KIND_POOL,
    names.PLURAL_POOL,
    names.SINGULAR_POOL,
    names.SHORT_NAME_POOL,
    ModelPool,
    (
        ("Accelerator", "string", ".spec.accelerator.profile", 0),
        ("Ready", "integer", ".status.readyReplicas", 0),
        ("Loaded", "integer", ".status.loaded", 0),
        ("Waiting", "integer", ".status.waiting", 0),
        ("Reason", "string", ".status.reason", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
        ("Message", "string", ".status.message", 1),
    ),
)
DEFINITIONS: Final = (MODELS, POOLS)


def custom_resource_definition(given: Definition = MODELS) -> Node:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": given.name,
            "labels": {names.LABEL_PART_OF: names.PART_OF},
            # Helm must never delete a definition: every model would go with it.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": given.kind,
                "listKind": f"{given.kind}List",
                "plural": given.plural,
                "singular": given.singular,
                "shortNames": [given.short_name],
                "categories": [names.PART_OF],
            },
            "versions": [_version(given)],
        },
    }


def _version(given: Definition) -> Node:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(given.model)},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "priority": priority}
            for name, kind, path, priority in given.columns
        ],
    }


def _root(model: type[BaseModel]) -> Node:
    """With the three fields that every object has and pydantic's type leaves out."""
    schema = structural(model)
    every: Node = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    return schema | {"properties": every | schema["properties"]}
