from typing import Any

import pooled
import pytest
from pydantic import ValidationError

from berth_api import names
from berth_operator.core.pools import pool


def plan_hash(**spec: Any) -> str:
    return pool.resolve(pooled.pool_cr(**spec)).plan_hash


@pytest.mark.parametrize(
    "changed",
    [
        {"replicas": 3},
        {"residency": {"minResidencySeconds": 1}},
        {"drainTimeoutSeconds": 7},
        {"podTemplate": {"nodeSelector": {"a": "b"}}},
        {"accelerator": {"profile": "h100", "gpusPerPod": 1}},
    ],
)
def test_what_changes_no_engine_plans_no_model_anew(changed: dict[str, Any]) -> None:
    assert plan_hash(**changed) == plan_hash()


@pytest.mark.parametrize(
    "changed",
    [
        {"accelerator": {"profile": "h100", "gpusPerPod": 2}},
        {"runtime": {"image": "example.test/other:2"}},
        {"resources": {"memory": "64Gi"}},
        {"cache": {"claimName": "others"}},
    ],
)
def test_what_an_engine_depends_on_plans_them_anew(changed: dict[str, Any]) -> None:
    assert plan_hash(**changed) != plan_hash()


def test_what_a_pool_owns_goes_with_it_and_is_found_by_its_label() -> None:
    made = pool.metadata(pool.resolve(pooled.pool_cr()), "shared-pool")
    (owner,) = made["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (pooled.POOL_UID, True)
    assert made["labels"][names.LABEL_POOL] == "shared"
    assert names.LABEL_MODEL not in made["labels"]


def test_a_spec_that_cannot_be_read_names_its_field() -> None:
    with pytest.raises(ValidationError, match="claimName"):
        pool.resolve(pooled.pool_cr(cache={}))
