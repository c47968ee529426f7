"""The rights of Berth's service accounts, held against what the whole session made them ask for.

Runs last (conftest.py). A right that no scenario needs is taken out of the chart, or is named here
with its reason; what a part of the suite did not use says nothing, so the judgement on that is left
out of a run that is not whole.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import chart
import pytest
import yaml
from rights import Right, granted, needed, uncovered, unused

from dev.installed import SYSTEM, Berth

STARTED = datetime.now(UTC)  # files are collected before the first test

OPERATOR = "berth-operator"
MODELS_API = "what Ollama's clients create, copy and delete; tests/integration/test_models_api"
# Resource and verb, and why no scenario of a whole session needs it.
NOT_SEEN = {
    ("berth.dev/modeldeployments/finalizers", "update"): (
        "never asked for itself: OwnerReferencesPermissionEnforcement, which some clusters turn on, "
        "looks whether the writer of an owner reference has it"
    ),
    ("berth.dev/modelpools/finalizers", "update"): "as for modeldeployments/finalizers",
    ("discovery.k8s.io/endpointslices/restricted", "create"): (
        "never asked for itself: OpenShift's RestrictedEndpointsAdmission looks whether the writer "
        "of an EndpointSlice has it"
    ),
    ("berth.dev/modeldeployments", "get"): MODELS_API,
    ("berth.dev/modeldeployments", "create"): MODELS_API,
    ("berth.dev/modeldeployments", "patch"): MODELS_API,
    ("berth.dev/modeldeployments", "delete"): MODELS_API,
    ("apps/controllerrevisions", "get"): "where one of that name is there already: whose is it?",
    (
        "batch/jobs",
        "get",
    ): "as for controllerrevisions: both are created, and looked at if they exist",
    ("apps/controllerrevisions", "delete"): (
        "an eleventh revision of a model removes the first; tests/integration/test_operator_rollouts"
    ),
    ("pods", "delete"): (
        "pods that failed for good on a faulty node; tests/integration/test_node_faults"
    ),
    ("configmaps", "create"): "once in a cluster's life: what was learned of engines",
    (
        "secrets",
        "create",
    ): "in the release's namespace once in its life; elsewhere an apply needs it",
    (
        "secrets",
        "patch",
    ): "where a key's is there already, and the Service that remembers it is not (or not yet): "
    "tests/faults/test_operator_meddling",
    ("secrets", "get"): "of the first client's key: only before its hash exists",
    ("coordination.k8s.io/leases", "create"): "once in a release's life",
}


@pytest.fixture(scope="module")
def held() -> set[Right]:
    rendered = chart.render("--set=crds.enabled=false")
    return granted(one for one in yaml.safe_load_all(rendered) if one)


@pytest.fixture(scope="module")
def asked(berth: Berth) -> list[Right]:
    if berth.audit_log is None:
        pytest.fail("this test reads the API server's audit log: run it on its own cluster")
    with berth.audit_log.open(encoding="utf-8") as log:
        found = list(needed(log, SYSTEM, STARTED))
    if not any(one.verb in ("get", "list", "watch") for one in found):
        pytest.fail(
            "the audit log has no reads: the cluster was started with an older audit policy"
        )
    return found


def lines(rights: Iterable[Right]) -> str:
    return "\n".join(map(str, sorted(rights)))


def test_nothing_was_asked_for_that_the_chart_does_not_grant(
    held: set[Right], asked: list[Right]
) -> None:
    """Whether it was refused, or some other role allowed it."""
    beyond = uncovered(held, asked)
    assert not beyond, f"asked for without a right of the chart's:\n{lines(beyond)}"


def test_every_right_was_used_or_has_a_reason(held: set[Right], asked: list[Right]) -> None:
    idle = {one for one in unused(held, asked) if (one.resource, one.verb) not in NOT_SEEN}
    assert not idle, f"granted and used by no scenario:\n{lines(idle)}"


def test_every_reason_is_of_a_right_that_is_granted(held: set[Right]) -> None:
    assert set(NOT_SEEN) <= {(one.resource, one.verb) for one in held if one.account == OPERATOR}
