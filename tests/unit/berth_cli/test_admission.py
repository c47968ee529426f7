"""The API server's rules in CEL, judged here: a twin for each, and the rule's own words."""

import modeldeployments
import pytest
from hypothesis import given

from berth_api import rules
from berth_api.model_deployment import ModelDeployment
from berth_cli import admission

SOURCE = {"source": "hf://a/b"}
REF = {"name": "a", "key": "b"}
ADAPTER = {"name": "a", "source": "hf://a/b"}
# One violation for each rule, in the tables' order.
BROKEN = [
    *zip(
        (
            *(*rules.UNSERVED, *rules.POOLED, *rules.ADAPTED, *rules.ADAPTER),
            *(*rules.SOURCE, *rules.REPLICA_BOUNDS, *rules.IMAGE),
        ),
        (
            {"parallelism": {"pipeline": 2}},
            {"memory": {"sharing": "Shared"}},
            {"pool": "a", "accelerators": [{"profile": "b"}]},
            {"pool": "a", "model": SOURCE | {"cache": {"claimName": "b"}}},
            {"pool": "a", "scaling": {"mode": "External"}},
            {"priority": 0},
            {"evictable": False},
            {"adapters": [ADAPTER], "defaults": {"adapter": "b"}},
            {"adapters": [ADAPTER], "pool": "a"},
            {"adapters": [ADAPTER | {"source": "oci://a:1"}]},
            {"adapters": [ADAPTER | {"source": "pvc://a/../b"}]},
            {"model": {"source": "oci://a", "authSecretRef": REF}},
            {"model": {"source": "oci://a/../b"}},
            {"scaling": {"minReplicas": 2}},
            {"runtime": {"image": "a/b:latest"}},
        ),
        strict=True,
    )
]


def of_spec(**spec):
    typed = ModelDeployment.model_validate({"spec": {"model": SOURCE} | spec})
    return list(admission.of_spec(typed.spec))


@pytest.mark.parametrize(("rule", "spec"), BROKEN)
def test_a_broken_rule_is_told_in_its_own_words(rule, spec):
    ((field, said),) = of_spec(**spec)
    assert said == rule["message"]
    assert field.endswith(rule.get("fieldPath", "spec.runtime.image"))


@pytest.mark.parametrize("minimum", [0, 1])
def test_a_pool_loads_a_model_when_it_is_asked_for_and_keeps_no_minimum(minimum):
    said = of_spec(pool="a", scaling={"mode": "Auto", "minReplicas": minimum})
    assert [field for field, _ in said] == ["spec.scaling"] * minimum


@pytest.mark.parametrize("image", ["a/b:1", "a:5000/b:1", "a/b@sha256:0", "a/b:latest@sha256:0"])
def test_an_image_with_a_version_or_a_digest_is_taken(image):
    assert of_spec(runtime={"image": image}) == []


@pytest.mark.parametrize("image", ["a", "a:5000/b", "a/b:", "a/b:latest"])
def test_an_image_without_is_refused(image):
    assert [field for field, _ in of_spec(runtime={"image": image})] == ["spec.runtime.image"]


@given(modeldeployments.modeldeployments())
def test_no_valid_model_breaks_a_rule(model):
    assert list(admission.of_name(model["metadata"]["name"])) == []
    assert list(admission.of_spec(ModelDeployment.model_validate(model).spec)) == []


@pytest.mark.parametrize(
    ("name", "rule"),
    [("a" * 41, 0), ("UPPER_x/..", 1), ("1a", 1), ("a-", 1), ("", 1), ("a\n", 1), ("qwen2.5", 1)],
)
def test_a_name_that_no_service_can_have_is_refused(name, rule):
    assert list(admission.of_name(name)) == [("metadata.name", rules.NAME[rule]["message"])]


def test_a_rule_without_its_twin_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        admission._beside(rules.NAME, bool)
