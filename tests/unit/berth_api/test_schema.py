import re
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from modeldeployments import FULL, MINIMAL, POOLED, modeldeployments
from pydantic import BaseModel, Field

from berth_api import names
from berth_api.model_deployment import ModelDeployment
from berth_api.rules import MUST, VALIDATIONS, must
from berth_api.schema import DEFINITIONS, Unsupported, custom_resource_definition, structural
from berth_api.spec import ApiModel

VERSION = custom_resource_definition()["spec"]["versions"][0]
ROOT = VERSION["schema"]["openAPIV3Schema"]
VALIDATOR = jsonschema.Draft202012Validator(ROOT)
SPEC = ROOT["properties"]["spec"]["properties"]
ROOTS = {
    one.kind: custom_resource_definition(one)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for one in DEFINITIONS
}


def nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [
        *node.get("properties", {}).values(),
        node.get("items"),
        node.get("additionalProperties"),
    ]
    return [node, *(found for child in inner if child for found in nodes(child))]


class TestWhatPydanticWritesAndTheApiServerCannotRead:
    def test_references_are_inlined_and_what_stands_beside_them_wins(self):
        class Colour(BaseModel):
            """Of paint."""

            name: str

        class Wall(BaseModel):
            colour: Colour = Field(description="Of this wall.")

        colour = structural(Wall)["properties"]["colour"]
        assert colour["description"] == "Of this wall."
        assert colour["properties"] == {"name": {"type": "string"}}

    def test_an_optional_field_says_nothing_of_null(self):
        class Optional(BaseModel):
            size: int | None = None

        assert structural(Optional)["properties"]["size"] == {"type": "integer", "format": "int64"}

    def test_a_literal_becomes_an_enumeration_of_one(self):
        class Literally(BaseModel):
            kind: Literal["only"]

        assert structural(Literally)["properties"]["kind"] == {"type": "string", "enum": ["only"]}

    def test_titles_are_dropped(self):
        assert all("title" not in node for node in nodes(ROOT))

    def test_a_default_object_is_dropped_and_a_default_scalar_is_kept(self):
        class Inner(BaseModel):
            on: bool = False

        class Outer(BaseModel):
            inner: Inner = Inner()
            count: int = 1

        fields = structural(Outer)["properties"]
        assert "default" not in fields["inner"]
        assert fields["inner"]["properties"]["on"]["default"] is False
        assert fields["count"]["default"] == 1

    @pytest.mark.parametrize(
        "annotation",
        [
            int | str,
            int | Literal["auto"],
            Annotated[int, Field(ge=1)] | Literal["auto"],
            tuple[int, str],
            float,
            dict[str, Any] | int,
            list[Any],
            Annotated[int, Field(multiple_of=8)],
            Annotated[str, Field(pattern="^a$")],
        ],
        ids=str,
    )
    def test_what_it_cannot_say_is_an_error_that_names_the_field(self, annotation):
        model = type("Odd", (ApiModel,), {"__annotations__": {"odd_field": annotation}})
        with pytest.raises(Unsupported, match=r"^oddField: "):
            structural(model)

    def test_a_bounded_integer_or_auto_is_the_one_union(self):
        class Sized(BaseModel):
            size: Annotated[int, Field(ge=1, le=8)] | Literal["auto"] = "auto"

        size = structural(Sized)["properties"]["size"]
        assert size["x-kubernetes-int-or-string"] is True
        assert size["anyOf"] == [{"type": "integer"}, {"type": "string"}]
        assert size["default"] == "auto"
        assert size[VALIDATIONS][0]["message"] == 'size must be "auto" or an integer from 1 to 8'

    def test_a_pattern_becomes_a_rule_that_quotes_the_value_and_names_the_fix(self):
        class Patterned(BaseModel):
            name: str = Field(pattern=r"^[a-z]\d?$", json_schema_extra=must("be a letter, not 'x'"))

        name = structural(Patterned)["properties"]["name"]
        assert "pattern" not in name
        assert MUST not in name
        assert name[VALIDATIONS] == [
            {
                "rule": r"self.matches('^[a-z]\\d?$')",
                "message": "name must be a letter, not 'x'",
                "messageExpression": r"""'name "' + self + '" must be a letter, not \'x\''""",
            }
        ]


@pytest.fixture(params=DEFINITIONS, ids=lambda one: one.kind)
def definition(request):
    return request.param


@pytest.fixture
def root(definition):
    return ROOTS[definition.kind]


class TestEveryKind:
    def test_a_pattern_can_never_reach_a_user_without_its_fix(self, root):
        spec = root["properties"]["spec"]["properties"]
        found = [node for field in spec.values() for node in nodes(field) if "pattern" in node]
        assert found == []

    def test_every_string_of_a_spec_that_a_rule_reads_is_bounded(self, root):
        spec = root["properties"]["spec"]
        ruled = [n for n in nodes(spec) if n.get(VALIDATIONS) and n.get("type") == "string"]
        assert ruled
        assert all("maxLength" in node for node in ruled)

    def test_every_list_of_a_spec_is_bounded(self, root):
        spec = root["properties"]["spec"]
        assert all("maxItems" in node for node in nodes(spec) if node.get("type") == "array")

    def test_every_message_names_its_field(self, root):
        messages = [check["message"] for node in nodes(root) for check in node.get(VALIDATIONS, [])]
        assert messages
        assert all(message.startswith(("spec.", "metadata.name ")) for message in messages)

    def test_conditions_are_a_map_so_that_one_writer_replaces_one_condition(self, root):
        conditions = root["properties"]["status"]["properties"]["conditions"]
        assert conditions["x-kubernetes-list-type"] == "map"
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]

    def test_its_scale_subresource_has_its_selector(self, definition):
        (version,) = custom_resource_definition(definition)["spec"]["versions"]
        assert version["subresources"]["scale"] == {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }

    def test_every_column_shows_a_field_that_exists(self, definition, root):
        for _, _, path, _ in definition.columns:
            top, *rest = path.split("[")[0].strip(".").split(".")
            node = root["properties"][top]
            for part in rest if top != "metadata" else ():
                node = node["properties"][part]

    def test_helm_keeps_the_definition_when_a_release_is_removed(self, definition):
        metadata = custom_resource_definition(definition)["metadata"]
        assert metadata["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert metadata["name"] == f"{definition.plural}.{names.GROUP}"


class TestTheModelDeployment:
    def test_a_minimal_object_gets_two_defaults_only(self):
        filled = {name: field["default"] for name, field in SPEC.items() if "default" in field}
        assert filled == {"replicas": 1, "paused": False}

    def test_fields_whose_presence_a_rule_asks_for_have_no_default(self):
        checks = ROOT["properties"]["spec"][VALIDATIONS]
        asked = {name for one in checks for name in re.findall(r"has\(self\.(\w+)\)", one["rule"])}
        assert {"pool", "priority", "evictable", "accelerators"} <= asked
        assert all("default" not in SPEC[name] for name in asked)

    def test_status_has_no_defaults_because_its_writer_owns_what_it_writes(self):
        assert all("default" not in node for node in nodes(ROOT["properties"]["status"]))

    @pytest.mark.parametrize("example", [MINIMAL, FULL, POOLED], ids=["minimal", "full", "pooled"])
    def test_examples_are_valid_in_both_languages(self, example):
        ModelDeployment.model_validate(example)
        VALIDATOR.validate(example)

    @settings(max_examples=60, deadline=None)
    @given(modeldeployments())
    def test_what_pydantic_takes_the_schema_takes(self, given_object):
        wire = ModelDeployment.model_validate(given_object).wire()
        VALIDATOR.validate(given_object)
        VALIDATOR.validate(wire)
