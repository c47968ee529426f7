"""A control plane of its own: KEDA's adapter takes external.metrics.k8s.io for itself."""

import uuid
from collections.abc import Iterator

import keda_processes
import pytest

from dev.controlplane import ControlPlane


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("control-plane")
    flags = ("--horizontal-pod-autoscaler-sync-period=1s",)
    with (
        ControlPlane(folder, controller_flags=flags) as running,
        keda_processes.running(running, tmp_path_factory.mktemp("keda")),
    ):
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    name = f"berth-test-{uuid.uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    return name
