"""docs/pools.md and its examples say what the code has."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from berth_api import names
from berth_api.model_deployment import ModelDeployment
from berth_api.pool import EngineState, ModelPool, Residency
from berth_api.spec import DEFAULT_KEEP_ALIVE, Spec
from berth_cli import admission
from berth_operator.core.pools.cards import OWN_BYTES
from berth_operator.core.residency import verdicts

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "pools.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples" / "pool").glob("*.yaml"))


def first_column(header: str) -> list[str]:
    """The words in code of the first column of the table that begins with `header`."""
    _, _, after = PAGE.partition(f"| {header}")
    table = after.partition("\n\n")[0]
    return [
        word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[1])
    ]


def yamls() -> list[Any]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def objects(path: Path, kind: str) -> list[dict[str, Any]]:
    found = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return [one for one in found if one["kind"] == kind]


def test_the_states_are_those_of_the_contract() -> None:
    assert first_column("state |") == [
        "Absent", "Waiting", "Loading", "Serving", "Draining", "Failed", "Refused",
    ]  # fmt: skip
    assert set(first_column("state |")) == set(get_args(EngineState))


def test_the_reasons_of_those_that_wait_are_the_laws() -> None:
    assert sorted(first_column("reason of one that waits")) == sorted(get_args(verdicts.WaitReason))


def test_the_pool_that_is_shown_says_the_defaults() -> None:
    shown, model = yamls()
    pool = ModelPool.model_validate(shown)
    assert pool.spec.residency == Residency()
    assert shown["kind"] == names.KIND_POOL
    spec = Spec.model_validate(model["spec"])
    assert spec.pool == shown["metadata"]["name"]
    assert list(admission.of_spec(spec)) == []


def test_numbers_and_names_are_those_of_the_code() -> None:
    assert f"`keepAlive: {DEFAULT_KEEP_ALIVE}` | stays so long after its last request" in PAGE
    assert f"{OWN_BYTES // 2**30} GiB that is the pod's own" in PAGE
    assert names.ANNOTATION_LOAD in PAGE
    assert names.ANNOTATION_UNLOAD in PAGE


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_pool_with_its_claim_and_models_that_name_it(path: Path) -> None:
    (pool,) = objects(path, names.KIND_POOL)
    (claim,) = objects(path, "PersistentVolumeClaim")
    read = ModelPool.model_validate(pool)
    assert read.spec.cache.claim_name == claim["metadata"]["name"]
    models = objects(path, names.KIND)
    assert len(models) > 2
    for model in models:
        spec = ModelDeployment.model_validate(model).spec
        assert spec.pool == pool["metadata"]["name"]
        assert list(admission.of_name(model["metadata"]["name"])) == []
        assert list(admission.of_spec(spec)) == []


def test_both_kinds_of_accelerator_have_an_example() -> None:
    assert [path.stem for path in EXAMPLES] == ["cpu", "gpu"]
