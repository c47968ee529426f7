"""Namespaces and definitions that go away, and stored objects that should not exist."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_client import RefusedError
from clusterapi import CRD_NAME
from kubelet import ending_shape_jobs, restarting
from operator_site import (
    CONVERGE_SECONDS,
    DEFINITION,
    RETRIED,
    WATCH_ENDED,
    Site,
    install_definition,
    now,
    wait_for,
)

from berth_operator.cluster import kinds
from dev.controlplane import ControlPlane

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GONE_SECONDS = 60.0
# Two restarts, the second after the kubelet's first pause, and the model's children.
WORKS_AGAIN_SECONDS = 40.0
OTHERS = 50
TURNS = 3  # what else a machine has to do makes any one of them longer
REFUSED = r"CRITICAL .*ConfigurationError"
POISONED = r"ERROR berth_operator.workqueue .*/poison: unexpected"


@pytest.fixture(scope="module")
def plane(own_plane: ControlPlane) -> ControlPlane:
    return own_plane


def test_fault_16_a_namespace_that_is_deleted_under_load_ends_and_disturbs_nobody(
    site: Site, tmp_path: Path
) -> None:
    operator = site.start(everywhere=True)
    team = Site(site.plane, f"{site.namespace}-team", tmp_path)
    team.kubectl("create", "namespace", team.namespace)
    with ending_shape_jobs(team.plane.kubeconfig, team.namespace):
        for number in range(10):
            team.create(f"load-{number}")
        team.wait_until_converged("load-0")
        team.cluster.delete(f"/api/v1/namespaces/{team.namespace}")
        wait_for(
            "the end of the namespace",
            lambda: team.cluster.find(f"/api/v1/namespaces/{team.namespace}") is None,
            seconds=GONE_SECONDS,
        )
    assert operator.is_running()
    site.create("smol")
    site.wait_until_converged("smol")


def test_fault_17_the_operator_works_again_once_its_definition_is_back(site: Site) -> None:
    site.explained = [WATCH_ENDED, REFUSED]
    operator = site.start()
    site.create("smol")
    site.wait_until_converged("smol")
    with restarting(operator) as container:
        site.cluster.delete(f"{CRDS}/{CRD_NAME}")
        wait_for(
            "the end of the definition",
            lambda: site.cluster.find(f"{CRDS}/{CRD_NAME}") is None,
            seconds=GONE_SECONDS,
        )
        install_definition(site.plane)
        wait_for("the garbage collector", lambda: not site.children("smol"), seconds=GONE_SECONDS)
        site.create("again")
        site.wait_until_converged("again", seconds=WORKS_AGAIN_SECONDS)
    assert len(container.exit_codes) <= 2
    assert set(container.exit_codes) <= {1, 2}


@contextmanager
def looser_definition(plane: ControlPlane) -> Iterator[None]:
    """As an older one may have been, or one that someone has edited: any status will do."""
    document: dict[str, Any] = yaml.safe_load(DEFINITION.read_text())
    (version,) = document["spec"]["versions"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version["schema"]["openAPIV3Schema"]["properties"]["status"] = anything
    plane.kubectl.apply(document)
    try:
        yield
    finally:
        install_definition(plane)


def poison(site: Site) -> None:
    """A condition without a type, which the definition of today would not take."""
    site.create("poison")
    status = {"status": {"conditions": [{"reason": "Unknown"}]}}

    def taken() -> bool:
        try:
            site.cluster.patch(f"{site.path(kinds.MODEL, 'poison')}/status", status)
        except RefusedError:
            return False  # the API server takes a moment to go by a changed definition
        return True

    wait_for("the looser definition", taken, seconds=CONVERGE_SECONDS)


def median_latency(site: Site, prefix: str) -> float:
    """Seconds from a model's creation to its status; paused, so that nothing else costs time."""
    created: dict[str, datetime] = {}
    for number in range(OTHERS):
        name = f"{prefix}-{number}"
        created[name] = now()
        site.create(name, paused=True)

    def told() -> dict[str, datetime]:
        changes = reversed(site.audit.changes(min(created.values())))
        return {one.name: one.done_at for one in changes if one.name in created}

    wait_for("all statuses", lambda: told().keys() == created.keys(), seconds=CONVERGE_SECONDS)
    return statistics.median((at - created[name]).total_seconds() for name, at in told().items())


def test_fault_19_a_model_that_cannot_be_decided_harms_no_other(site: Site) -> None:
    site.explained = [POISONED, RETRIED]
    operator = site.start()

    def failures() -> int:
        return operator.log.read_text().count("/poison: unexpected")

    alone, beside = [], []
    with looser_definition(site.plane):
        for turn in range(TURNS):
            alone.append(median_latency(site, f"alone-{turn}"))
            before = failures()
            poison(site)
            wait_for("the failure", lambda b=before: failures() > b, seconds=CONVERGE_SECONDS)
            beside.append(median_latency(site, f"beside-{turn}"))
            assert failures() - before < 20, "it does not back off"
            site.cluster.delete(site.path(kinds.MODEL, "poison"))
    assert min(beside) < 2 * min(alone), (alone, beside)
