import jsonschema
import pytest
from pydantic import ValidationError

from berth_api import names
from berth_api.pool import MAX_ENGINES, ModelPool, PoolSpec
from berth_api.schema import POOLS, custom_resource_definition

MINIMAL = {"accelerator": {"profile": "h100"}, "cache": {"claimName": "models"}}
(VERSION,) = custom_resource_definition(POOLS)["spec"]["versions"]
VALIDATOR = jsonschema.Draft202012Validator(VERSION["schema"]["openAPIV3Schema"])


def test_an_accelerator_and_a_claim_are_enough():
    spec = PoolSpec.model_validate(MINIMAL)
    assert (spec.replicas, spec.accelerator.gpus_per_pod) == (1, 1)
    assert spec.residency.min_residency_seconds == 30
    assert spec.residency.starvation_seconds == 60
    assert spec.residency.max_engines == MAX_ENGINES


@pytest.mark.parametrize("missing", ["accelerator", "cache"])
def test_a_pool_without_cards_or_files_is_refused(missing):
    left = {name: field for name, field in MINIMAL.items() if name != missing}
    with pytest.raises(ValidationError, match=missing):
        PoolSpec.model_validate(left)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replicas", -1),
        ("replicas", 101),
        ("drainTimeoutSeconds", 0),
        ("residency", {"minResidencySeconds": 3601}),
        ("residency", {"starvationSeconds": 0}),
        ("residency", {"maxEngines": MAX_ENGINES + 1}),
        ("accelerator", {"profile": "h100", "gpusPerPod": 0}),
    ],
)
def test_a_range_holds_in_both_languages(field, value):
    given = MINIMAL | {field: value}
    with pytest.raises(ValidationError):
        PoolSpec.model_validate(given)
    assert not VALIDATOR.is_valid({"metadata": {"name": "small"}, "spec": given})


def test_what_is_written_is_read_again_and_the_schema_takes_it():
    engine = {"id": "a1b2", "models": ["one"], "state": "Serving", "memoryBytes": 2**30}
    given = {"spec": MINIMAL, "status": {"sequence": 3, "engines": [engine]}}
    pool = ModelPool.model_validate(given)
    VALIDATOR.validate({"metadata": {"name": "small"}} | pool.wire())
    assert ModelPool.model_validate(pool.wire()) == pool


def test_engines_are_a_map_so_that_each_is_told_by_its_id():
    status = VERSION["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert status["engines"]["x-kubernetes-list-type"] == "map"
    assert status["engines"]["x-kubernetes-list-map-keys"] == ["id"]


def test_a_pod_has_a_port_for_each_engine_that_it_may_hold():
    first, last = names.PORTS_POOL
    assert last - first + 1 >= MAX_ENGINES
    assert not first <= names.PORT_SERVER_STATUS <= last
