"""Many models at once, and an operator that is killed under them."""

import time

import pytest
from operator_site import CHILDREN, Site, wait_for

from berth_operator.cluster import kinds
from dev.controlplane import ControlPlane

MODELS = 500
RECONCILED_SECONDS = 180.0
PEAK_BYTES = 512 * 2**20
# When the operator is killed: some are done, some half done, some not begun.
KILLED_AT = MODELS // 4


@pytest.fixture(scope="module")
def plane(own_plane: ControlPlane) -> ControlPlane:
    return own_plane


def test_fault_20_five_hundred_models_at_once_and_a_restart_under_them(site: Site) -> None:
    site.elected = False  # a killed leader keeps its Lease for 15 s, which is case 2
    operator = site.start()
    began = time.monotonic()
    for number in range(MODELS):
        site.create(f"crowd-{number}")
    wait_for("a quarter", lambda: deployments(site) >= KILLED_AT, seconds=RECONCILED_SECONDS)
    operator.kill()
    operator.start().wait_until_ready()
    left = RECONCILED_SECONDS - (time.monotonic() - began)
    wait_for("all of them", lambda: deployments(site) == MODELS, seconds=left)
    site.wait_for_rest()
    assert operator.peak_bytes() < PEAK_BYTES
    for kind in CHILDREN:
        owned = site.cluster.items(kind.path(site.namespace), "berth.dev/model")
        assert len(owned) == MODELS, kind.kind


def deployments(site: Site) -> int:
    return len(site.cluster.items(kinds.DEPLOYMENT.path(site.namespace)))
