"""The chart's objects on a real API server: its rights are enough, and no more than that."""

import uuid
from collections.abc import Iterator

import chart
import pytest

from dev import progress
from dev.kubectl import Kubectl

OPERATOR, GATEWAY = "berth-operator", "berth-gateway"
ELSEWHERE = "default"


@pytest.fixture(scope="module")
def release(kubectl: Kubectl, definition: None) -> Iterator[str]:
    """The namespace of a cluster-wide release, where only restricted pods are let in."""
    name = f"berth-test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    rendered = chart.render("--set", "crds.enabled=false", namespace=name)
    kubectl("apply", "--server-side", "-f", "-", stdin=rendered)
    yield name
    kubectl("delete", "--wait=false", "-f", "-", stdin=rendered)
    kubectl("delete", "namespace", name, "--wait=false")


def may(kubectl: Kubectl, release: str, account: str, *question: str) -> bool:
    """`question` as `kubectl auth can-i` takes it."""
    user = f"--as=system:serviceaccount:{release}:{account}"
    return kubectl.succeeds("auth", "can-i", *question, user, "--quiet")


def test_pods_are_let_in_where_only_restricted_ones_are(kubectl: Kubectl, release: str) -> None:
    def both_made() -> bool:
        return len(kubectl.json("get", "pods", "--namespace", release)["items"]) == 2

    progress.wait_for("the release's pods", both_made, seconds=30)


@pytest.mark.parametrize(
    ("account", "question"),
    [
        (OPERATOR, ("watch", "modeldeployments.berth.dev", "--all-namespaces")),
        (
            OPERATOR,
            ("patch", "modeldeployments.berth.dev", "--subresource=status", "-n", ELSEWHERE),
        ),
        *(
            (OPERATOR, (verb, kind, "-n", ELSEWHERE))
            for verb in ("get", "list", "watch", "create", "delete")
            for kind in ("deployments.apps", "controllerrevisions.apps", "jobs.batch")
        ),
        (OPERATOR, ("patch", "deployments.apps", "-n", ELSEWHERE)),
        (OPERATOR, ("delete", "pods", "-n", ELSEWHERE)),  # that failed for good
        (OPERATOR, ("create", "poddisruptionbudgets.policy", "-n", ELSEWHERE)),
        (OPERATOR, ("patch", "services", "-n", ELSEWHERE)),
        (OPERATOR, ("watch", "pods", "--all-namespaces")),
        (OPERATOR, ("watch", "nodes")),
        (OPERATOR, ("patch", "secrets", "-n", ELSEWHERE)),
        (OPERATOR, ("create", "secrets", "-n", ELSEWHERE)),
        (OPERATOR, ("list", "events", "-n", ELSEWHERE)),
        (OPERATOR, ("patch", "events", "-n", ELSEWHERE)),
        (OPERATOR, ("get", "secrets/berth-engine-master")),
        (OPERATOR, ("get", "secrets/berth-first-api-key")),
        (OPERATOR, ("create", "leases.coordination.k8s.io")),
        (OPERATOR, ("update", "leases.coordination.k8s.io/berth-operator")),
        (GATEWAY, ("watch", "modeldeployments.berth.dev", "--all-namespaces")),
        (GATEWAY, ("watch", "modelpools.berth.dev", "--all-namespaces")),
        (GATEWAY, ("watch", "endpointslices.discovery.k8s.io", "--all-namespaces")),
        (GATEWAY, ("watch", "secrets/berth-api-keys")),
        (GATEWAY, ("list", "secrets/berth-engine-master")),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given),
)
def test_it_may(kubectl: Kubectl, release: str, account: str, question: tuple[str, ...]) -> None:
    assert may(kubectl, release, account, *in_release(question, release))


@pytest.mark.parametrize(
    ("account", "question"),
    [
        (OPERATOR, ("get", "secrets", "-n", ELSEWHERE)),
        (OPERATOR, ("list", "secrets", "-n", ELSEWHERE)),
        (OPERATOR, ("list", "secrets")),
        (OPERATOR, ("get", "secrets/of-someone")),
        (OPERATOR, ("delete", "secrets")),
        (OPERATOR, ("delete", "services", "-n", ELSEWHERE)),
        (OPERATOR, ("delete", "poddisruptionbudgets.policy", "-n", ELSEWHERE)),
        (OPERATOR, ("patch", "modeldeployments.berth.dev", "-n", ELSEWHERE)),
        (OPERATOR, ("patch", "controllerrevisions.apps", "-n", ELSEWHERE)),
        (OPERATOR, ("patch", "jobs.batch", "-n", ELSEWHERE)),
        (OPERATOR, ("create", "pods", "-n", ELSEWHERE)),
        (OPERATOR, ("create", "pods", "--subresource=exec", "-n", ELSEWHERE)),
        (OPERATOR, ("patch", "nodes")),
        (OPERATOR, ("create", "clusterroles.rbac.authorization.k8s.io")),
        (OPERATOR, ("update", "leases.coordination.k8s.io/of-someone")),
        (GATEWAY, ("get", "secrets", "-n", ELSEWHERE)),
        (GATEWAY, ("list", "secrets")),
        (GATEWAY, ("list", "secrets/berth-first-api-key")),
        (GATEWAY, ("list", "pods", "-n", ELSEWHERE)),
        (GATEWAY, ("patch", "modeldeployments.berth.dev", "--subresource=status", "-n", ELSEWHERE)),
        (GATEWAY, ("create", "events", "-n", ELSEWHERE)),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given),
)
def test_it_may_not(
    kubectl: Kubectl, release: str, account: str, question: tuple[str, ...]
) -> None:
    assert not may(kubectl, release, account, *in_release(question, release))


def test_with_given_namespaces_nothing_but_nodes_is_read_elsewhere() -> None:
    rendered = chart.objects(chart.render("--set", "watchNamespaces={team-a}"))
    roles = [one for (kind, _), one in rendered.items() if kind == "ClusterRole"]
    assert [rule["resources"] for role in roles for rule in role["rules"]] == [["nodes"]]


def in_release(question: tuple[str, ...], release: str) -> tuple[str, ...]:
    """Asked of the release's namespace unless it says otherwise."""
    named = {"-n", "--all-namespaces"} & set(question)
    return question if named else (*question, "-n", release)
