"""Control planes that may be broken, because the fault suite has made them itself."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from kubelet import ending_shape_jobs
from operator_site import Site, install_definition, refuse_given_cluster

from dev.controlplane import ControlPlane


@pytest.fixture(scope="session")
def new_plane(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], ControlPlane]:
    """One more control plane, not started, with files of its own."""

    def make() -> ControlPlane:
        refuse_given_cluster(os.environ)
        return ControlPlane(tmp_path_factory.mktemp("plane"))

    return make


@pytest.fixture(scope="session")
def plane(new_plane: Callable[[], ControlPlane]) -> Iterator[ControlPlane]:
    """The one that tests share which leave it whole; others override this."""
    with new_plane() as running:
        install_definition(running)
        yield running


@pytest.fixture(scope="module")
def own_plane(new_plane: Callable[[], ControlPlane]) -> Iterator[ControlPlane]:
    """For the tests of one file, which break it."""
    with new_plane() as running:
        install_definition(running)
        yield running


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy(plane.kubeconfig) as between:
        yield between


@pytest.fixture
def site(plane: ControlPlane, proxy: FaultProxy, tmp_path: Path) -> Iterator[Site]:
    """What must hold after every fault is checked here, so that no test can forget it.

    The proxy outlives it: an operator that loses its server while it is checked would complain.
    """
    one = Site(plane, f"fault-{uuid.uuid4().hex[:8]}", tmp_path)
    one.prepare()
    with ending_shape_jobs(plane.kubeconfig, one.namespace):
        try:
            yield one
            one.check()
        finally:
            one.stop()
    one.cluster.delete(f"/api/v1/namespaces/{one.namespace}")
