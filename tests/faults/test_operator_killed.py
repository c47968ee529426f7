"""Operators that are killed, frozen or away: what is left half done is finished by the next one."""

import time

import pytest
from fault_proxy import WRITES, Call, FaultProxy
from operator_site import (
    CONVERGE_SECONDS,
    LOST,
    Site,
    assert_none,
    now,
    refuse_given_cluster,
    token_of,
    wait_for,
)

from berth_operator.cluster import kinds

# More than a model takes from its creation to its Deployment, Events and status included.
KILLED_AT_WRITES = range(11)
TAKEOVER_SECONDS = 17.0
APPLIED_SECONDS = 25.0
FROZEN_SECONDS = 40.0
EXIT_SECONDS = 10.0


def test_a_cluster_that_the_suite_did_not_create_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="BERTH_TEST_KUBECONFIG is /some/where"):
        refuse_given_cluster({"BERTH_TEST_KUBECONFIG": "/some/where"})


def test_fault_01_killed_at_any_write_it_is_finished_by_the_next_operator(
    site: Site, proxy: FaultProxy
) -> None:
    site.elected = False  # a killed leader keeps its Lease for 15 s, which is case 2
    operator = site.start(through=proxy)
    points = [(number, answered) for number in KILLED_AT_WRITES for answered in (False, True)]
    for number, answered in points:
        kill = Call(operator.kill, answered=answered)
        with proxy.rule(kill, verbs=WRITES, skip=number, times=1):
            site.create(_name(number, answered))
            wait_for("the kill", lambda: not operator.is_running(), seconds=CONVERGE_SECONDS)
        operator.start().wait_until_ready()
    site.wait_until_converged(*(_name(*point) for point in points))
    deployments = site.cluster.items(kinds.DEPLOYMENT.path(site.namespace))
    assert len(deployments) == len(points)


def _name(number: int, answered: bool) -> str:
    """Of the model whose creation has the operator killed at that write."""
    return f"killed-{number}-{'after' if answered else 'before'}"


def test_fault_02_a_killed_leader_is_followed_within_its_lease(site: Site) -> None:
    leader, standby = site.start(), site.start()
    site.create("smol")
    site.wait_until_converged("smol")
    assert site.leader() is leader
    leader.kill()
    killed_at = time.monotonic()
    site.edit("smol", replicas=2)
    wait_for("the standby", lambda: site.leader() is standby, seconds=TAKEOVER_SECONDS)
    wait_for(
        "the change",
        lambda: site.deployment("smol")["spec"]["replicas"] == 2,
        seconds=APPLIED_SECONDS - (time.monotonic() - killed_at),
    )


def test_fault_03_a_leader_that_was_frozen_writes_nothing_and_ends(site: Site) -> None:
    site.explained = [LOST, "lease not renewed"]
    leader, standby = site.start(), site.start()
    site.create("smol")
    site.wait_until_converged("smol")
    site.wait_for_rest()
    leader.freeze()
    frozen_at = now()
    time.sleep(FROZEN_SECONDS)
    assert site.leader() is standby
    site.edit("smol", replicas=2)  # the frozen one is told of it as soon as it runs again
    leader.resume()
    wait_for("its end", lambda: not leader.is_running(), seconds=EXIT_SECONDS)
    assert leader.exit_code() == 1
    site.wait_until_converged("smol")
    late = [one for one in site.audit.writes(frozen_at) if one.process == token_of(leader)]
    assert_none("writes of the frozen leader", late)


def test_fault_15_a_model_that_is_deleted_while_no_operator_runs_leaves_nothing(
    site: Site,
) -> None:
    operator = site.start()
    site.create("smol")
    site.wait_until_converged("smol")
    operator.terminate()
    site.cluster.delete(site.path(kinds.MODEL, "smol"))
    assert site.cluster.find(site.path(kinds.MODEL, "smol")) is None
    wait_for("the garbage collector", lambda: not site.children("smol"), seconds=CONVERGE_SECONDS)
    since = now()
    site.start()
    site.wait_for_rest()
    assert not site.children("smol")
    assert_none("writes after the restart", site.audit.changes(since))
