"""Which accelerators are planned for, and that there is one list of the default ones."""

import os
from pathlib import Path

import builders
import pytest
import yaml

from berth_cli import profiles
from berth_cli.arguments import Card
from berth_cli.errors import InputError
from berth_operator.core.accelerators import offers
from berth_operator.core.resolved import resolve

ROOT = Path(__file__).parents[3]
RENDERED = ROOT / "tests" / "golden" / "chart" / "default.yaml"
VALUES = yaml.safe_load((ROOT / "charts" / "berth" / "values.yaml").read_text())
HEADER = "# Generated from the chart's values by `make generate`.\n"


def spec(**fields):
    return resolve(builders.model_deployment(**fields)).spec


def card(**fields):
    return Card(
        **({"memory": "80Gi", "per_node": 8, "engine_profile": None, "resource": None} | fields)
    )


def rendered_by_helm():
    """What helm renders of the chart's own values; an integration test holds that file to helm."""
    found = [one for one in yaml.safe_load_all(RENDERED.read_text()) if one]
    maps = [one["data"] for one in found if one["kind"] == "ConfigMap"]
    return next(data["config.yaml"] for data in maps if "config.yaml" in data)


def test_the_default_profiles_are_the_charts_golden_ones():
    wanted = HEADER + rendered_by_helm()
    if os.environ.get("UPDATE_GOLDEN"):
        Path(str(profiles.DEFAULTS)).write_text(wanted, encoding="utf-8")
    assert profiles.DEFAULTS.read_text(encoding="utf-8") == wanted


def test_the_default_accelerators_are_those_of_the_charts_values():
    found = yaml.safe_load(profiles.DEFAULTS.read_text(encoding="utf-8"))
    assert found["acceleratorProfiles"] == VALUES["acceleratorProfiles"]
    engines = {one["name"]: one["device"] for one in found["engineProfiles"]}
    assert engines == {name: one["device"] for name, one in VALUES["engineProfiles"].items()}


def test_a_declared_card_is_found_where_the_charts_cards_are():
    (found,) = profiles.with_card(profiles.default(), card(), spec()).settings.accelerator_profiles
    assert (found.name, found.memory, found.gpus_per_node) == ("gpu-80gi", "80Gi", 8)
    assert (found.resource, found.engine_profile) == ("nvidia.com/gpu", "vllm")
    assert [one.key for one in found.tolerations] == ["nvidia.com/gpu"]


def test_a_declared_card_stands_for_the_profile_that_the_model_names_first():
    model = spec(accelerators=[{"profile": "h100"}, {"profile": "l40s"}])
    (found,) = profiles.with_card(profiles.default(), card(), model).settings.accelerator_profiles
    assert found.name == "h100"


@pytest.mark.parametrize("memory", ["80Gi", "39.5Gi", "96G"])
def test_a_declared_card_has_a_valid_name(memory):
    fleet = profiles.with_card(profiles.default(), card(memory=memory), spec())
    assert profiles.parse(
        yaml.safe_dump(fleet.settings.model_dump(mode="json", by_alias=True)), "x"
    )


def test_a_declared_cards_compute_capability_reaches_the_planner():
    fleet = profiles.with_card(profiles.default(), card(compute="9.0"), spec())
    (offer,) = offers.offers(fleet.settings, fleet.nodes, spec())
    assert offer.capability == (9, 0)


def test_a_declared_slice_is_asked_for_by_its_own_resource():
    slice_ = card(memory="39.5Gi", resource="nvidia.com/mig-3g.40gb")
    (found,) = profiles.with_card(profiles.default(), slice_, spec()).settings.accelerator_profiles
    assert (found.name, found.resource) == ("mig-3g-40gb", "nvidia.com/mig-3g.40gb")


def test_a_declared_card_of_another_maker_follows_its_engine_profile():
    amd = card(engine_profile="vllm-rocm")
    (found,) = profiles.with_card(profiles.default(), amd, spec()).settings.accelerator_profiles
    assert (found.resource, found.engine_profile) == ("amd.com/gpu", "vllm-rocm")


@pytest.mark.parametrize("engine", ["vllm-cpu", "nope"])
def test_an_engine_profile_that_runs_no_card_is_refused(engine):
    with pytest.raises(
        InputError, match=f"--engine-profile {engine}: .*use one of vllm, vllm-rocm"
    ):
        profiles.with_card(profiles.default(), card(engine_profile=engine), spec())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engineProfiles: 7", "engineProfiles: Input should be a valid list"),
        ("[]", "no operator's configuration"),
        ("a: [", "not YAML"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(text, said, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"--config {path}: .*{said}"):
        profiles.configured(path)
