"""Whatever a definition takes away from stored objects is told, and what it adds is not."""

import copy
from typing import Any

import pytest
from schema_changes import narrowed

SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer", "minimum": 0, "maximum": 1000},
                "mode": {"type": "string", "enum": ["Auto", "Fixed"], "default": "Fixed"},
                "aliases": {"type": "array", "items": {"type": "string", "maxLength": 255}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "source": {
                    "type": "string",
                    "x-kubernetes-validations": [{"rule": "self != ''", "message": "empty"}],
                },
            },
        }
    },
}


def definition(schema: dict[str, Any], **version: Any) -> dict[str, Any]:
    versions = [
        {"name": "v1alpha1", "served": True, "schema": {"openAPIV3Schema": schema}} | version
    ]
    return {"spec": {"group": "g", "scope": "Namespaced", "names": {}, "versions": versions}}


def changed(path: str, **values: Any) -> dict[str, Any]:
    """SCHEMA with keywords of one field of the spec set, or with None taken away."""
    schema = copy.deepcopy(SCHEMA)
    node: dict[str, Any] = schema["properties"]["spec"]["properties"]  # type: ignore[index]
    for name in path.split("."):
        node = node[name]
    for keyword, value in values.items():
        node[keyword] = value
    return schema


def without(name: str) -> dict[str, Any]:
    schema = copy.deepcopy(SCHEMA)
    del schema["properties"]["spec"]["properties"][name]  # type: ignore[index]
    return schema


RULES = "x-kubernetes-validations"


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (without("replicas"), "spec.replicas: is gone"),
        (changed("replicas", maximum=10), "spec.replicas: maximum is 10, was 1000"),
        (changed("replicas", minimum=1), "spec.replicas: minimum is 1, was 0"),
        (changed("source", maxLength=9), "spec.source: maxLength is 9, was free"),
        (changed("source", pattern="^a"), "spec.source: pattern is '^a', was None"),
        (changed("replicas", type="string"), "spec.replicas: type is 'string', was 'integer'"),
        (changed("mode", enum=["Fixed"]), "spec.mode: 'Auto' is no longer taken"),
        (changed("source", enum=["a"]), "spec.source: only ['a'] are taken"),
        (changed("mode", default="Auto"), "spec.mode: default is 'Auto', was 'Fixed'"),
        (changed("labels", required=["a"]), "spec.labels: a is now required"),
        (changed("aliases.items", maxLength=9), "spec.aliases[]: maxLength is 9, was 255"),
        (
            changed("labels.additionalProperties", type="integer"),
            "spec.labels[]: type is 'integer', was 'string'",
        ),
        (
            changed("source", **{RULES: [{"rule": "self == 'a'", "message": "empty"}]}),
            "spec.source: a new rule: self == 'a'",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_taken_away_is_told(after: dict[str, Any], told: str) -> None:
    assert narrowed(definition(SCHEMA), definition(after)) == [told]


@pytest.mark.parametrize(
    "after",
    [
        SCHEMA,
        changed("replicas", maximum=2000, description="More of them."),
        changed("mode", enum=["Auto", "External", "Fixed"]),
        changed("source", **{RULES: [{"rule": "self != ''", "message": "say something"}]}),
        changed("source", **{RULES: []}),
    ],
)
def test_what_is_added_or_said_in_other_words_takes_nothing_away(after: dict[str, Any]) -> None:
    assert narrowed(definition(SCHEMA), definition(after)) == []
    assert narrowed(definition(without("replicas")), definition(SCHEMA)) == []


def test_a_version_that_is_not_served_any_more_is_told() -> None:
    gone = definition(SCHEMA, served=False)
    assert narrowed(definition(SCHEMA), gone) == ["version v1alpha1 is no longer served"]


def test_another_scale_subresource_is_told() -> None:
    other = definition(SCHEMA, subresources={"scale": {"specReplicasPath": ".spec.count"}})
    assert narrowed(definition(SCHEMA), other) == ["the subresources of v1alpha1 have changed"]
