"""The operator in one namespace, with Roles there and nothing of the cluster's."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import builders
import pytest
from operator_process import Models, OperatorProcess, account_kubeconfig, chart_rights

from berth_operator.__main__ import EXIT_CONFIGURATION
from dev.kubectl import Kubectl

RIGHTS = ("nodes.read=false",)
CHILDREN = ("Secret", "Service", "PodDisruptionBudget", "ControllerRevision", "Deployment")
END_SECONDS = 30.0


@pytest.fixture
def kubeconfig(kubectl: Kubectl, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """Of a service account with the rights of `nodes.read: false`."""
    rights = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": chart_rights(namespace, *RIGHTS)}
    )
    kubectl("apply", "-f", "-", stdin=rights)
    yield account_kubeconfig(kubectl, namespace, tmp_path)
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=rights)


@pytest.fixture
def operator(
    models: Models, kubeconfig: Path, namespace: str, tmp_path: Path
) -> Iterator[OperatorProcess]:
    configured = {"readNodes": False}
    one = OperatorProcess(kubeconfig, namespace, tmp_path, configured=configured).start()
    try:
        yield one.wait_until_ready()
    finally:
        one.kill()


def test_its_rights_are_in_its_namespace_only(namespace: str) -> None:
    kinds = {one["kind"] for one in chart_rights(namespace, *RIGHTS)}
    assert kinds == {"ServiceAccount", "Role", "RoleBinding"}
    assert "ClusterRole" in {one["kind"] for one in chart_rights(namespace)}


def test_a_model_gets_all_its_children(
    kubectl: Kubectl, models: Models, operator: OperatorProcess
) -> None:
    account = f"--as=system:serviceaccount:{models.namespace}:berth-operator"
    assert not kubectl.succeeds("auth", "can-i", "list", "nodes", account)
    models.create()
    models.read_shape()
    models.wait_for_children(*CHILDREN)
    assert "forbidden" not in operator.log.read_text().lower()


def test_a_declared_card_is_planned_for(models: Models, operator: OperatorProcess) -> None:
    models.create(accelerators=[{"profile": "h100"}])
    models.read_shape()
    models.wait_for_children(*CHILDREN)
    assert models.status()["plan"]["accelerator"] == "h100"


def test_a_card_that_only_nodes_could_tell_of_ends_it_with_one_line(
    kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    profiles = [{"name": "nvidia", "engineProfile": "vllm", "resource": "nvidia.com/gpu"}]
    document = builders.configured().wire() | {
        "namespace": namespace,
        "readNodes": False,
        "acceleratorProfiles": profiles,
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps(document))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ":".join(sys.path),
        "KUBECONFIG": str(kubeconfig),
        "BERTH_CONFIG": str(config),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "berth_operator"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )
    assert ended.returncode == EXIT_CONFIGURATION
    (line,) = ended.stderr.splitlines()
    assert line.startswith("berth-operator: configuration: readNodes is false")
    assert "nvidia needs memory and gpusPerNode" in line
