"""What helm makes of the chart: the same every time, and what the two programs read.

`UPDATE_GOLDEN=1 pytest tests/integration/test_chart_rendering.py` writes the files anew.
"""

import json
from pathlib import Path
from typing import Any

import chart
import golden
import pytest
import yaml

from berth_api import names
from berth_api.schema import DEFINITIONS, custom_resource_definition
from berth_api.shape import ShapeReport
from berth_gateway import settings as gateway_settings
from berth_operator import settings as operator_settings
from dev.errors import CommandFailedError

CASES = ("default", "everything")
SHAPE = Path(__file__).parents[2] / "examples/plan/llama-3.1-8b/shape.json"


@pytest.fixture(scope="module", params=CASES)
def rendered(request: pytest.FixtureRequest) -> dict[tuple[str, str], dict[str, Any]]:
    return chart.objects(chart.render("--values", chart.case(request.param)))


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    given = {one["name"]: one.get("value") for one in container(deployment)["env"]}
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize("case", CASES)
def test_the_rendering_is_the_golden_one(case: str) -> None:
    found = chart.render("--values", chart.case(case), "--set", "crds.enabled=false")
    golden.compare(chart.GOLDEN / f"{case}.yaml", found)


def test_the_chart_has_no_lint() -> None:
    assert "0 chart(s) failed" in chart.helm("lint", "--strict", chart.CHART)


def test_gitops_sees_no_change_when_nothing_changed() -> None:
    assert chart.render() == chart.render()


def test_the_definitions_are_installed_as_the_types_say() -> None:
    found = chart.objects(chart.render())
    installed = {name: one for (kind, name), one in found.items() if kind.startswith("CustomRes")}
    assert installed == {one.name: custom_resource_definition(one) for one in DEFINITIONS}


def test_the_operator_reads_its_configuration(rendered: Any) -> None:
    text = rendered["ConfigMap", "berth-operator"]["data"]["config.yaml"]
    read = operator_settings.parse(yaml.safe_load(text))
    assert read.namespace == chart.NAMESPACE
    for profile in read.accelerator_profiles:
        assert read.engine_profile(profile.engine_profile) is not None


def test_the_gateway_reads_its_environment(rendered: Any) -> None:
    deployment = rendered["Deployment", "berth-gateway"]
    arguments = container(deployment)["command"][3:]
    read = gateway_settings.load(
        arguments, environment(deployment) | {"BERTH_NAMESPACE": chart.NAMESPACE}
    )
    assert read.routes is None
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > read.settle_seconds + read.drain_seconds


def test_the_defaults_of_the_chart_are_the_gateways_own() -> None:
    deployment = chart.objects(chart.render())["Deployment", "berth-gateway"]
    given = {"BERTH_NAMESPACE": "n", "BERTH_MODELS_API": ""}  # which only a chart knows
    read = gateway_settings.load(["--cluster"], environment(deployment) | given)
    assert read == gateway_settings.load(["--cluster"], given)


def test_the_gateway_finds_the_models_api(rendered: Any) -> None:
    service = rendered["Service", "berth-operator"]
    given = environment(rendered["Deployment", "berth-gateway"])["BERTH_MODELS_API"]
    (port,) = service["spec"]["ports"]
    assert given == f"http://berth-operator.{chart.NAMESPACE}.svc:{port['port']}"
    template = rendered["Deployment", "berth-operator"]["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    named = {
        one["name"]: one["containerPort"]
        for one in container({"spec": {"template": template}})["ports"]
    }
    assert named[port["targetPort"]] == names.PORT_OPERATOR_MODELS


def test_models_are_made_where_they_are_served(rendered: Any) -> None:
    text = rendered["ConfigMap", "berth-operator"]["data"]["config.yaml"]
    read = operator_settings.parse(yaml.safe_load(text))
    watched = read.watch_namespaces or [chart.NAMESPACE]
    assert read.models_namespace in watched
    (role,) = [
        one for (kind, name), one in rendered.items() if kind == "Role" and name.endswith("-models")
    ]
    assert role["metadata"]["namespace"] == read.models_namespace


def test_a_namespace_that_is_not_watched_is_refused() -> None:
    with pytest.raises(CommandFailedError, match="namespace is team-b, which is none of"):
        chart.render("--set=watchNamespaces={team-a},modelsApi.namespace=team-b")


def test_without_the_models_api_nothing_of_it_is_rendered() -> None:
    found = chart.objects(chart.render("--set=modelsApi.enabled=false"))
    assert ("Service", "berth-operator") not in found
    assert not [name for kind, name in found if kind == "Role" and name.endswith("-models")]
    assert "BERTH_MODELS_API" not in environment(found["Deployment", "berth-gateway"])
    assert "modelsNamespace" not in found["ConfigMap", "berth-operator"]["data"]["config.yaml"]


def test_ports_are_those_of_the_contract(rendered: Any) -> None:
    def ports(component: str) -> dict[str, int]:
        given = container(rendered["Deployment", f"berth-{component}"])["ports"]
        return {one["name"]: one["containerPort"] for one in given}

    assert ports("operator") == {
        "management": names.PORT_OPERATOR_MANAGEMENT,
        "models": names.PORT_OPERATOR_MODELS,
    }
    assert ports("gateway") == {
        "http": names.PORT_GATEWAY,
        "management": names.PORT_GATEWAY_MANAGEMENT,
    }


def test_the_secrets_that_may_be_read_are_those_of_the_contract(rendered: Any) -> None:
    def readable(component: str) -> set[str]:
        rules = rendered["Role", f"berth-{component}"]["rules"]
        return {
            name
            for one in rules
            if one["resources"] == ["secrets"]
            for name in one.get("resourceNames", [])
        }

    three = {names.SECRET_ENGINE_MASTER, names.SECRET_API_KEYS, names.SECRET_FIRST_API_KEY}
    assert readable("operator") == three
    assert readable("gateway") == {names.SECRET_ENGINE_MASTER, names.SECRET_API_KEYS}


def test_clients_find_the_gateway_at_one_name(rendered: Any) -> None:
    service = rendered["Service", "berth"]
    selected = service["spec"]["selector"].items()
    template = rendered["Deployment", "berth-gateway"]["spec"]["template"]["metadata"]
    assert selected <= template["labels"].items()


def test_a_changed_configuration_restarts_the_operator() -> None:
    def checksum(*arguments: str) -> str:
        deployment = chart.objects(chart.render(*arguments))["Deployment", "berth-operator"]
        text: str = deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return text

    assert checksum() != checksum("--set", "hub.endpoint=https://hub.example")
    assert checksum() == checksum("--set", "gateway.replicas=2")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("vllm/vllm-openai:v1", "mirror.example/vllm/vllm-openai:v1"),
        ("berth-runtime-cpu", "mirror.example/berth-runtime-cpu:0.1.0"),
        ("quay.example/vllm:v1", "quay.example/vllm:v1"),
        ("localhost/vllm:v1", "localhost/vllm:v1"),
        ("host:5000/vllm", "host:5000/vllm:0.1.0"),
    ],
)
def test_a_mirror_stands_before_images_that_name_no_registry(image: str, expected: str) -> None:
    text = chart.render(
        "--show-only=templates/configmap.yaml",
        "--set=image.registry=mirror.example",
        f"--set=engineProfiles.vllm.image={image}",
    )
    config = chart.objects(text)["ConfigMap", "berth-operator"]["data"]["config.yaml"]
    images = {one["name"]: one["image"] for one in yaml.safe_load(config)["engineProfiles"]}
    assert images["vllm"] == expected


def test_a_models_shape_reaches_the_operator_to_the_byte(tmp_path: Path) -> None:
    source = "hf://meta-llama/Llama-3.1-8B-Instruct"
    shape = json.loads(SHAPE.read_text())
    values = tmp_path / "shapes.yaml"
    values.write_text(json.dumps({"modelShapes": {source: shape}}))
    text = chart.render("--show-only=templates/configmap.yaml", f"--values={values}")
    config = chart.objects(text)["ConfigMap", "berth-operator"]["data"]["config.yaml"]
    read = operator_settings.parse(yaml.safe_load(config)).model_shapes
    assert read == {source: ShapeReport.model_validate(shape)}
