"""A real API server for the integration tests, and nothing that outlives them.

They run against a control plane of their own, or against the cluster that BERTH_TEST_KUBECONFIG
names; never against the one that kubectl happens to point at.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusterapi import Api
from operator_process import Models, OperatorProcess, account_kubeconfig, chart_rights

from dev import binaries, progress
from dev.controlplane import ControlPlane
from dev.kubectl import Kubectl

REPOSITORY = Path(__file__).parents[2]
ESTABLISH_SECONDS = 30.0
DEFINITIONS = tuple(sorted((REPOSITORY / "crds").glob("*.yaml")))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    flags = (
        # Fifteen seconds by default, and a test of an HPA waits for several looks.
        "--horizontal-pod-autoscaler-sync-period=1s",
        # Most nodes have no kubelet that goes on telling; whose time is up is NotReady in a minute.
        "--node-monitor-grace-period=1h",
    )
    folder = tmp_path_factory.mktemp("control-plane")
    with ControlPlane(folder, controller_flags=flags) as running:
        yield running


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest) -> Kubectl:
    given = os.environ.get("BERTH_TEST_KUBECONFIG")
    if given:
        return Kubectl(binaries.path("kubectl"), Path(given))
    control_plane: ControlPlane = request.getfixturevalue("control_plane")
    return control_plane.kubectl


@pytest.fixture(scope="session")
def definition(kubectl: Kubectl) -> Iterator[None]:
    """Berth's definitions, installed; removed again as far as they were not there before."""
    new = [one for one in DEFINITIONS if not kubectl.succeeds("get", "crd", one.stem)]
    for one in DEFINITIONS:
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(one))
    # Not `kubectl wait`: it fails at once on a definition that has no conditions yet.
    for one in DEFINITIONS:
        progress.wait_for(
            f"the definition {one.stem}",
            lambda one=one: kubectl.succeeds("get", one.stem),  # type: ignore[misc]
            seconds=ESTABLISH_SECONDS,
        )
    yield
    for one in new:
        kubectl("delete", "crd", one.stem, "--wait=false")


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    name = f"berth-test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def models(kubectl: Kubectl, definition: None, namespace: str) -> Models:
    return Models(kubectl, namespace)


@pytest.fixture
def start(
    kubectl: Kubectl, namespace: str, tmp_path: Path
) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts operators with the chart's rights."""
    rights = json.dumps({"apiVersion": "v1", "kind": "List", "items": chart_rights(namespace)})
    kubectl("apply", "-f", "-", stdin=rights)
    kubeconfig = account_kubeconfig(kubectl, namespace, tmp_path)
    started: list[OperatorProcess] = []

    def begin(*, leader_election: bool = False) -> OperatorProcess:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        one = OperatorProcess(kubeconfig, namespace, directory, leader_election).start()
        started.append(one)
        return one.wait_until_ready()

    yield begin
    for one in started:
        one.kill()
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=rights)


@pytest.fixture
def api(kubectl: Kubectl, definition: None, namespace: str) -> Api:
    return Api(kubectl, namespace)


@pytest.fixture(scope="session")
def rehearsal(kubectl: Kubectl, definition: None) -> Api:
    """For dry runs only: nothing is stored, so any namespace will do."""
    return Api(kubectl, "default")
