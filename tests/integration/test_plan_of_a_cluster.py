"""`berth plan --cluster` reads the operator's configuration and the nodes from a real API server."""

import json
from collections.abc import Iterator
from pathlib import Path

import builders
import gpu_nodes
import pytest
import yaml

from berth_api import names
from berth_cli import __main__ as cli
from dev.kubectl import Kubectl

EXAMPLE = Path(__file__).parents[2] / "examples" / "plan" / "llama-3.1-70b-fp8"
POOL = "example.test/pool"  # tells this test's nodes from those of others


def configuration(pool: str) -> str:
    """The operator's, with a profile whose cards only the nodes' labels tell."""
    card = {
        "name": "h100",
        "engineProfile": "vllm",
        "resource": "nvidia.com/gpu",
        "nodeSelector": {POOL: pool},
    }
    settings = builders.configured(acceleratorProfiles=[card])
    return yaml.safe_dump(settings.model_dump(mode="json", by_alias=True))


@pytest.fixture
def release(kubectl: Kubectl, namespace: str) -> Iterator[str]:
    """What a release leaves in its namespace, and a node of 8 H100."""
    labels = {names.LABEL_NAME: names.PART_OF, names.LABEL_COMPONENT: "operator"}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "renamed-operator", "namespace": namespace, "labels": labels},
        "data": {"config.yaml": configuration(namespace)},
    }
    node = gpu_nodes.h100().body()
    node["metadata"] |= {
        "name": f"{namespace}-h100",
        "labels": node["metadata"]["labels"] | {POOL: namespace},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(config_map))
    kubectl("create", "-f", "-", stdin=json.dumps(node))
    status = json.dumps({"status": node["status"]})
    name = node["metadata"]["name"]
    kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", status)
    yield namespace
    kubectl("delete", "node", name, "--wait=false")


def plan(kubectl: Kubectl, namespace: str) -> int:
    model, shape = EXAMPLE / "model.yaml", EXAMPLE / "shape.json"
    files = ("-f", str(model), "--shape", str(shape), "-o", "json")
    where = ("--cluster", "--kubeconfig", str(kubectl.kubeconfig), "--namespace", namespace)
    return cli.main(["plan", *files, *where])


def test_the_nodes_labels_decide_the_plan(
    kubectl: Kubectl, release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(kubectl, release) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["accelerator"], found["tensorParallelSize"]) == ("h100", 2)
    card = gpu_nodes.H100 * 2**20
    assert card * 0.9 < found["usableBytes"] < card * 0.92


def test_a_namespace_without_a_release_ends_with_2(
    kubectl: Kubectl, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(kubectl, namespace) == cli.EXIT_INPUT
    assert f"--namespace {namespace}: no ConfigMap" in capsys.readouterr().err
