"""What the chart's service accounts are granted: a golden file, so that a new right is seen.

`UPDATE_GOLDEN=1 pytest tests/integration/test_chart_rights.py` writes it anew. That each of them is
used is for the audit log of a real cluster to say: tests/e2e/test_rights.py.
"""

from pathlib import Path

import chart
import golden
import pytest
import yaml
from rights import Right, granted

GOLDEN = Path(__file__).parents[1] / "golden" / "rights.yaml"
TEAM = "watchNamespaces={team-a}"
# How Berth is installed: everywhere, in named namespaces, and there without any cluster role.
INSTALLATIONS = {
    "everywhere": (),
    "in team-a": (TEAM,),
    "in team-a, without nodes": (TEAM, "nodes.read=false"),
}


def rights(*values: str) -> set[Right]:
    rendered = chart.render("--set=crds.enabled=false", *(f"--set={one}" for one in values))
    return granted(one for one in yaml.safe_load_all(rendered) if one)


def listed(rights: set[Right]) -> dict[str, dict[str, list[str]]]:
    """By account and namespace: resources, each with its verbs in one line."""
    found: dict[str, dict[str, dict[str, list[str]]]] = {}
    for one in sorted(rights):
        what = f"{one.resource} {one.name}".strip()
        where = found.setdefault(one.account, {}).setdefault(one.namespace or "everywhere", {})
        where.setdefault(what, []).append(one.verb)
    return {
        account: {
            where: [f"{what}: {', '.join(verbs)}" for what, verbs in things.items()]
            for where, things in places.items()
        }
        for account, places in found.items()
    }


def test_what_is_granted_is_in_the_golden_file() -> None:
    found = {name: listed(rights(*values)) for name, values in INSTALLATIONS.items()}
    golden.compare(GOLDEN, yaml.safe_dump(found, sort_keys=False, width=100))


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_nothing_is_granted_by_a_wildcard(values: tuple[str, ...]) -> None:
    for one in rights(*values):
        assert "*" not in {one.resource, one.verb, *one.resource.split("/")}


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_no_users_secret_is_read(values: tuple[str, ...]) -> None:
    reading = {"get", "list", "watch"}
    read = {one for one in rights(*values) if one.resource == "secrets" and one.verb in reading}
    assert read
    assert all(one.name and one.namespace == chart.NAMESPACE for one in read)


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
@pytest.mark.parametrize(
    "resource",
    [
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "serviceaccounts/token",
        "rbac.authorization.k8s.io/roles",
        "rbac.authorization.k8s.io/rolebindings",
        "admissionregistration.k8s.io/validatingwebhookconfigurations",
        "namespaces",
    ],
)
def test_no_way_into_pods_or_to_more_rights(values: tuple[str, ...], resource: str) -> None:
    assert not [one for one in rights(*values) if one.resource == resource]


def test_the_gateway_writes_nothing() -> None:
    verbs = {one.verb for one in rights() if one.account == "berth-gateway"}
    assert verbs == {"list", "watch"}


def test_without_nodes_nothing_is_granted_outside_of_named_namespaces() -> None:
    namespaces = {one.namespace for one in rights(*INSTALLATIONS["in team-a, without nodes"])}
    assert namespaces == {chart.NAMESPACE, "team-a"}
