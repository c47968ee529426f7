"""docs/scaling.md and its examples say what the code has."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from berth_api import names
from berth_api.spec import DEFAULT_KEEP_ALIVE, Rollout, RoutingPolicy, ScalingMode, Spec
from berth_gateway.errors import Kind
from berth_gateway.routing import ejection
from berth_gateway.state import queue_gauges
from berth_operator.core.scaling import replicas

ROOT = Path(__file__).parents[3]
SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
ROUTING = (ROOT / "docs" / "routing.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "examples" / "scaling"


def first_column(page: str, header: str) -> list[str]:
    """The words in code of the first column of the table that begins with `header`."""
    _, _, after = page.partition(f"| {header}")
    table = after.partition("\n\n")[0]
    return [
        word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[1])
    ]


def test_the_reasons_are_those_of_the_law() -> None:
    assert sorted(first_column(SCALING, "reason |")) == sorted(get_args(replicas.Reason))


def test_the_modes_and_policies_are_those_of_the_api() -> None:
    assert first_column(SCALING, "mode |") == [
        mode.value for mode in (ScalingMode.FIXED, ScalingMode.AUTO, ScalingMode.EXTERNAL)
    ]
    assert first_column(ROUTING, "policy |") == [policy.value for policy in RoutingPolicy]


def test_the_example_of_a_spec_is_valid() -> None:
    text = re.search(r"(?<=```yaml\n)spec:\n.*?(?=```)", SCALING, re.DOTALL)
    assert text is not None
    spec = yaml.safe_load(text[0])["spec"]
    read = Spec.model_validate(spec | {"model": {"source": "hf://organisation/model"}})
    assert read.scaling.mode is ScalingMode.AUTO


def test_the_example_of_auto_scales_from_zero() -> None:
    example = yaml.safe_load((EXAMPLES / "auto.yaml").read_text(encoding="utf-8"))
    spec = Spec.model_validate(example["spec"])
    left_out = Spec.model_validate({"model": example["spec"]["model"]}).scaling
    assert spec.scaling.mode is ScalingMode.AUTO
    assert (spec.scaling.min_replicas, left_out.min_replicas, left_out.max_replicas) == (0, 0, 1)
    assert spec.keep_alive == DEFAULT_KEEP_ALIVE


def test_numbers_of_ejections_are_those_of_the_code() -> None:
    first, most = ejection.FIRST_EJECTION_SECONDS, ejection.MAX_EJECTION_SECONDS
    assert f"ejected for {first:.0f} s" in ROUTING
    assert f"up to {most / 60:.0f} minutes" in ROUTING
    pauses = (
        f"{ejection.FIRST_PAUSE_SECONDS} s, then longer, up to {ejection.MAX_PAUSE_SECONDS:.0f} s"
    )
    assert pauses in ROUTING


def test_defaults_are_those_of_the_api() -> None:
    queue = Spec.model_validate({"model": {"source": "hf://organisation/model"}}).queue
    assert (
        f"queue: {{maxPending: {queue.max_pending}, maxWaitSeconds: {queue.max_wait_seconds}}}"
        in SCALING
    )
    assert Rollout().hold_requests


def test_every_code_of_a_refusal_is_one_of_the_gateways() -> None:
    told = set(re.findall(r"(?:429|503)\s`(\w+)`", SCALING))
    assert told == {"queue_full", "gateway_full", "model_not_ready", "gateway_leaving"}
    assert told <= {kind.value.code for kind in Kind}


def target(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["scaleTargetRef"]
    return found


@pytest.mark.parametrize("name", ["hpa.yaml", "keda.yaml"])
def test_an_example_scales_a_modeldeployment_by_a_metric_that_there_is(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    scaled = target(yaml.safe_load(text))
    assert (scaled["apiVersion"], scaled["kind"]) == (names.API_VERSION, names.KIND)
    assert queue_gauges.QUEUE_DEPTH in text
    assert queue_gauges.QUEUE_DEPTH in SCALING
