import json
from pathlib import Path

import builders
import pytest

from berth_operator import settings
from berth_operator.errors import ConfigurationError


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "word"])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.yaml is no mapping"):
        settings.load({"BERTH_CONFIG": str(path)})


def test_the_environment_says_which_pods_are_gateways_for_an_operator_outside(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(builders.configured().wire()))
    chosen = settings.load({"BERTH_CONFIG": str(path), "BERTH_GATEWAY_SELECTOR": "app=gateway"})
    assert chosen.gateway_selector == "app=gateway"


def test_without_nodes_every_card_is_declared_and_what_is_missing_is_named() -> None:
    undeclared = [
        {"name": "nvidia", "engineProfile": "vllm", "resource": "nvidia.com/gpu"},
        {"name": "cpu", "engineProfile": "vllm-cpu"},
    ]
    assert builders.configured(acceleratorProfiles=undeclared).read_nodes
    with pytest.raises(ConfigurationError) as refused:
        builders.configured(acceleratorProfiles=undeclared, readNodes=False)
    assert "nvidia needs memory and gpusPerNode; cpu needs memory" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not builders.configured(readNodes=False).read_nodes


def test_models_are_made_in_a_namespace_that_is_served() -> None:
    team = ["team-a", "team-b"]
    assert builders.configured().models_namespace is None
    assert builders.configured(modelsNamespace="anywhere").models_namespace == "anywhere"
    builders.configured(watchNamespaces=team, modelsNamespace="team-b")
    with pytest.raises(ConfigurationError, match=r"modelsNamespace is other, .*watchNamespaces"):
        builders.configured(watchNamespaces=team, modelsNamespace="other")
