"""The control plane itself goes away, or becomes slow, and comes back.

Nothing is promised while it is away but that nobody writes twice; all is promised for the moment
from which it takes a write again. How soon that is after etcd's return is not the operator's doing.
"""

import os
import signal
import time

import pytest
from kubelet import restarting
from operator_site import LOST, RETRIED, Site, stopped, wait_for

from dev.controlplane import ControlPlane

LONG = bool(os.environ.get("BERTH_LONG_FAULTS"))
OUTAGE_SECONDS = 120.0 if LONG else 30.0
# The API server's own back-off towards etcd: 45 to 49 s were measured after an outage of 120 s.
SERVER_RETURN_SECONDS = 90.0
WORKS_AGAIN_SECONDS = 10.0
SLOW_SECONDS = 60.0 if LONG else 30.0
# etcd answers in a quarter of the time: a write takes seconds, as on a disk that is full of work.
STOPPED_SECONDS = 3.0
RUNNING_SECONDS = 1.0
TAKEOVER_SECONDS = 45.0


@pytest.fixture(scope="module")
def plane(own_plane: ControlPlane) -> ControlPlane:
    return own_plane


@pytest.mark.parametrize("name", ["etcd", "kube-apiserver"])
def test_fault_04_the_operator_works_as_soon_as_the_server_does_after_an_outage(
    site: Site, name: str
) -> None:
    site.explained = [RETRIED]
    operator = site.start()
    site.create("smol")
    # The plane's own controllers may still be in their pauses after the outage before.
    site.wait_until_converged("smol", seconds=SERVER_RETURN_SECONDS)
    with restarting(operator) as container:
        with stopped(site.plane, name):
            time.sleep(OUTAGE_SECONDS)
        site.edit_as_soon_as_taken("smol", replicas=2, seconds=SERVER_RETURN_SECONDS)
        site.wait_until_scaled("smol", 2, seconds=WORKS_AGAIN_SECONDS)
    assert container.exit_codes == []
    assert operator.metric("berth_operator_leading") == 1


def test_fault_04_an_operator_that_starts_while_the_server_is_away_works_once_it_is_back(
    site: Site,
) -> None:
    site.explained = [RETRIED]
    site.start().terminate()  # the release's Secrets exist
    operator = site.new()
    with stopped(site.plane, "kube-apiserver"):
        operator.start()
        time.sleep(WORKS_AGAIN_SECONDS)
    wait_for(
        "the API server",
        lambda: bool(site.cluster.items("/api/v1/namespaces")),
        seconds=SERVER_RETURN_SECONDS,
    )
    wait_for("a leader", lambda: site.leader() is operator, seconds=WORKS_AGAIN_SECONDS)


def test_fault_12_two_operators_on_a_slow_etcd_never_both_write(site: Site) -> None:
    site.explained = [RETRIED, LOST]
    first, second = site.start(), site.start()
    site.create("smol")
    site.wait_until_converged("smol", seconds=SERVER_RETURN_SECONDS)
    with restarting(first) as one, restarting(second) as other:
        slow_down(site)
        replicas = site.model("smol")["spec"].get("replicas", 1) + 1
        site.edit_as_soon_as_taken("smol", replicas=replicas, seconds=SERVER_RETURN_SECONDS)
        site.wait_until_scaled("smol", replicas, seconds=TAKEOVER_SECONDS)
    assert set(one.exit_codes + other.exit_codes) <= {1}


def slow_down(site: Site) -> None:
    """etcd, for a while, with a user who changes the model meanwhile."""
    pid = site.plane.daemons[0].pid()
    assert pid is not None
    replicas, ends = 1, time.monotonic() + SLOW_SECONDS
    try:
        while time.monotonic() < ends:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED_SECONDS)
            os.kill(pid, signal.SIGCONT)
            replicas = 3 - replicas
            site.edit_as_soon_as_taken("smol", replicas=replicas, seconds=SERVER_RETURN_SECONDS)
            time.sleep(RUNNING_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)
