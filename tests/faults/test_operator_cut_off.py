"""Operators whose way to the API server is bad: they neither go deaf nor mad, and work again."""

import itertools
import time

import pytest
from fault_proxy import (
    Answer,
    ErrorEvent,
    FaultProxy,
    HalfOpen,
    Reset,
    TruncatedLine,
    status_answer,
)
from kubelet import restarting
from operator_site import LOST, RETRIED, WATCH_ENDED, Site, wait_for

from berth_api import names
from berth_operator.cluster import kinds

WATCH_RESTORED_SECONDS = 15.0
# The longest pause between two tries of a watch, and one of a look.
RESTORED_SECONDS = 35.0
OUTAGE_SECONDS = 25.0
SILENT_WATCH_SECONDS = 75.0
SEVERED_SECONDS = 1.0
STORM_SECONDS = 15.0
STORM_CORES = 0.5
THROTTLED_SECONDS = 12.0
RETRY_AFTER_SECONDS = 3


def converged(site: Site, name: str = "smol") -> None:
    site.create(name)
    site.wait_until_converged(name)


@pytest.mark.parametrize("code", [500, 504])
def test_fault_05_an_error_in_a_watch_is_overcome(site: Site, proxy: FaultProxy, code: int) -> None:
    site.explained = [WATCH_ENDED]
    operator = site.start(through=proxy)
    converged(site)
    with restarting(operator) as container:
        with proxy.rule(ErrorEvent(code), f"/{names.PLURAL}$", times=1) as rule:
            wait_for("the error", lambda: rule.times == 0, seconds=WATCH_RESTORED_SECONDS)
        site.edit("smol", replicas=2)
        site.wait_until_scaled("smol", 2, seconds=WATCH_RESTORED_SECONDS)
    assert set(container.exit_codes) <= {1}
    assert len(container.exit_codes) <= 1


def test_fault_05_a_load_balancers_503_page_is_overcome(site: Site, proxy: FaultProxy) -> None:
    site.explained = [RETRIED, LOST]
    operator = site.start(through=proxy)
    converged(site)
    page = Answer(503, "<html><body>No server is available</body></html>", "text/html")
    with restarting(operator) as container:
        with proxy.rule(page), proxy.rule(Reset(), watch=True):
            time.sleep(OUTAGE_SECONDS)
        site.edit("smol", replicas=2)
        site.wait_until_scaled("smol", 2, seconds=RESTORED_SECONDS)
    assert set(container.exit_codes) <= {1}


def test_fault_06_a_storm_of_410_costs_half_a_core_at_most(site: Site, proxy: FaultProxy) -> None:
    operator = site.start(through=proxy)
    converged(site)
    with proxy.rule(ErrorEvent(410), watch=True):
        used, began = operator.cpu_seconds(), time.monotonic()
        time.sleep(STORM_SECONDS)
        cores = (operator.cpu_seconds() - used) / (time.monotonic() - began)
    assert cores < STORM_CORES
    site.edit("smol", replicas=2)
    site.wait_until_scaled("smol", 2, seconds=WATCH_RESTORED_SECONDS)
    assert operator.is_running()


def test_fault_07_watches_that_are_half_open_are_noticed(site: Site, proxy: FaultProxy) -> None:
    """Those of what the user writes, and of what was made of it."""
    operator = site.start(through=proxy)
    for name in ("smol", "other"):
        converged(site, name)
    opened_at = time.monotonic()
    with proxy.rule(HalfOpen(), f"/({names.PLURAL}|deployments)$", watch=True):
        time.sleep(SEVERED_SECONDS)  # those that are open never tell anything again
    site.edit("smol", replicas=2)
    meddled = site.path(kinds.DEPLOYMENT, site.deployment("other")["metadata"]["name"])
    site.cluster.patch(meddled, {"spec": {"replicas": 5}})
    assert not proxy.requests(path=f"/({names.PLURAL}|deployments)$", since=opened_at)
    noticed_by = time.monotonic() + SILENT_WATCH_SECONDS
    site.wait_until_scaled("smol", 2, seconds=SILENT_WATCH_SECONDS)
    wait_for(
        "one replica again",
        lambda: site.cluster.get(meddled)["spec"]["replicas"] == 1,
        seconds=noticed_by - time.monotonic(),
    )
    assert operator.is_running()


def test_fault_08_half_a_line_in_a_watch_is_overcome(site: Site, proxy: FaultProxy) -> None:
    site.explained = [WATCH_ENDED]
    operator = site.start(through=proxy)
    converged(site)
    with restarting(operator) as container:
        with proxy.rule(TruncatedLine(), "/deployments$", times=1) as rule:
            wait_for("the cut", lambda: rule.times == 0, seconds=WATCH_RESTORED_SECONDS)
        site.edit("smol", replicas=2)
        site.wait_until_scaled("smol", 2, seconds=WATCH_RESTORED_SECONDS)
    assert len(container.exit_codes) <= 1


def test_fault_09_a_server_that_asks_for_patience_gets_it_and_the_lease_is_kept(
    site: Site, proxy: FaultProxy
) -> None:
    site.explained = [RETRIED]
    operator = site.start(through=proxy)
    converged(site)
    site.wait_for_rest()  # what Kubernetes still tells of the pod would be a reason to look again
    began = time.monotonic()
    busy = status_answer(
        429, "TooManyRequests", "too many requests", Retry_After=str(RETRY_AFTER_SECONDS)
    )
    # Not the Lease: the server's flow control has a level of its own for leader election.
    with proxy.rule(busy, "^(?!.*/leases/)"):
        site.edit("smol", replicas=2)
        time.sleep(THROTTLED_SECONDS)
    refused = proxy.requests("PATCH", path="/deployments/", since=began)
    assert refused
    gaps = [later.at - one.at for one, later in itertools.pairwise(refused)]
    assert all(gap >= RETRY_AFTER_SECONDS * 0.9 for gap in gaps), gaps
    site.wait_until_scaled("smol", 2, seconds=RESTORED_SECONDS)
    assert operator.is_running()
    assert operator.metric("berth_operator_leading") == 1


def test_fault_10_rights_that_are_taken_are_named_in_the_log_and_missed_no_longer_than_needed(
    site: Site,
) -> None:
    site.explained = [RETRIED, LOST, "CRITICAL .*Denied"]
    operator = site.start()
    converged(site)
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/rolebindings"
    taken = site.cluster.items(bindings)
    with restarting(operator) as container:
        for one in taken:
            site.cluster.delete(f"{bindings}/{one['metadata']['name']}")
        site.edit("smol", replicas=2)
        time.sleep(OUTAGE_SECONDS)
        for one in taken:
            metadata = {"name": one["metadata"]["name"], "labels": one["metadata"]["labels"]}
            site.cluster.create(bindings, one | {"metadata": metadata})
        site.wait_until_scaled("smol", 2, seconds=RESTORED_SECONDS)
    log = operator.log.read_text()
    assert 'cannot patch resource "deployments"' in log
    assert set(container.exit_codes) <= {1}
