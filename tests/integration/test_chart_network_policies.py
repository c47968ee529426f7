"""The chart's NetworkPolicies: who may speak to whom where a network enforces them."""

import json
from typing import Any

import chart
import pytest
from network_policies import Outside, Pod, allowed

from berth_api import names
from dev.kubectl import Kubectl

ENGINE = names.PORT_ENGINE
STATUS = names.PORT_SERVER_STATUS
CLIENTS = names.PORT_GATEWAY
MANAGEMENT = names.PORT_GATEWAY_MANAGEMENT
OPERATOR_PAGES = names.PORT_OPERATOR_MANAGEMENT
MODELS = names.PORT_OPERATOR_MODELS
DNS = 53

TEAM = "team-a"
STRANGER = Pod("team-b")
NEIGHBOUR = Pod(TEAM, {"app": "something"})
PROMETHEUS = Pod("monitoring", {"app": "prometheus"})
ENGINE_POD = Pod(TEAM, {names.LABEL_ROLE: names.ROLE_ENGINE})
SHAPE_POD = Pod(TEAM, {names.LABEL_ROLE: names.ROLE_SHAPE})
FETCH_POD = Pod(TEAM, {names.LABEL_ROLE: names.ROLE_FETCH})
POOL_POD = Pod(TEAM, {names.LABEL_ROLE: names.ROLE_POOL})
FIRST, LAST = names.PORTS_POOL
CLUSTER_DNS = Pod("kube-system", {"k8s-app": "kube-dns"})
HUB = Outside("18.155.68.44")
MIRROR = Outside("10.1.2.3")
METADATA = Outside("169.254.169.254")
METADATA_6 = Outside("fd00:ec2::254")
API_SERVER = Outside("172.20.0.5")
PRIVATE = Outside("192.168.7.7")

VALUES = (
    "networkPolicy.enabled=true",
    f"watchNamespaces={{{TEAM}}}",
    "networkPolicy.metrics[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=monitoring",
)


def rendered(*values: str) -> list[dict[str, Any]]:
    found = chart.objects(chart.render(*(f"--set={one}" for one in values)))
    return [one for (kind, _), one in found.items() if kind == "NetworkPolicy"]


@pytest.fixture(scope="module")
def policies() -> list[dict[str, Any]]:
    return rendered(*VALUES)


def own(component: str, namespace: str = chart.NAMESPACE) -> Pod:
    """A pod of the release, with the labels that the chart gives it."""
    found = chart.objects(chart.render())["Deployment", f"berth-{component}"]
    return Pod(namespace, found["spec"]["template"]["metadata"]["labels"])


GATEWAY = own("gateway")
OPERATOR = own("operator")
IMPOSTOR = own("gateway", "team-b")


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (GATEWAY, ENGINE_POD, ENGINE),
        (OPERATOR, ENGINE_POD, ENGINE),
        (OPERATOR, ENGINE_POD, STATUS),
        (GATEWAY, POOL_POD, FIRST),
        (GATEWAY, POOL_POD, LAST),
        (OPERATOR, POOL_POD, STATUS),
        (OPERATOR, FETCH_POD, STATUS),
        (OPERATOR, GATEWAY, MANAGEMENT),
        (GATEWAY, OPERATOR, MODELS),
        (STRANGER, GATEWAY, CLIENTS),
        (PROMETHEUS, GATEWAY, MANAGEMENT),
        (PROMETHEUS, OPERATOR, OPERATOR_PAGES),
        (GATEWAY, API_SERVER, 6443),
        (OPERATOR, API_SERVER, 443),
        (ENGINE_POD, HUB, 443),
        (SHAPE_POD, HUB, 443),
        (FETCH_POD, HUB, 443),
    ],
)
def test_what_berth_needs_is_allowed(policies: Any, source: Any, target: Any, port: int) -> None:
    assert allowed(policies, source, target, port)


@pytest.mark.parametrize("source", [GATEWAY, OPERATOR, ENGINE_POD, SHAPE_POD, FETCH_POD])
@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_names_are_resolved(policies: Any, source: Pod, protocol: str) -> None:
    assert allowed(policies, source, CLUSTER_DNS, DNS, protocol)
    assert allowed(policies, source, Outside("169.254.20.10"), DNS, protocol)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (STRANGER, ENGINE_POD, ENGINE),
        (NEIGHBOUR, ENGINE_POD, ENGINE),
        (IMPOSTOR, ENGINE_POD, ENGINE),
        (ENGINE_POD, ENGINE_POD, ENGINE),
        (GATEWAY, ENGINE_POD, STATUS),
        (STRANGER, ENGINE_POD, STATUS),
        (GATEWAY, POOL_POD, STATUS),
        (GATEWAY, POOL_POD, FIRST - 1),
        (GATEWAY, POOL_POD, LAST + 1),
        (STRANGER, POOL_POD, FIRST),
        (NEIGHBOUR, POOL_POD, STATUS),
        (POOL_POD, POOL_POD, STATUS),
        (POOL_POD, HUB, 443),
        (STRANGER, FETCH_POD, STATUS),
        (STRANGER, SHAPE_POD, STATUS),
        (STRANGER, GATEWAY, MANAGEMENT),
        (STRANGER, OPERATOR, OPERATOR_PAGES),
        (STRANGER, OPERATOR, MODELS),
        (IMPOSTOR, OPERATOR, MODELS),
        (GATEWAY, OPERATOR, OPERATOR_PAGES),
        (ENGINE_POD, PRIVATE, 443),
        (ENGINE_POD, MIRROR, 8080),
        (ENGINE_POD, API_SERVER, 443),
        (ENGINE_POD, NEIGHBOUR, 443),
        (ENGINE_POD, HUB, 25),
        (GATEWAY, HUB, 80),
        (GATEWAY, NEIGHBOUR, 8000),
    ],
)
def test_nothing_else_is(policies: Any, source: Any, target: Any, port: int) -> None:
    assert not allowed(policies, source, target, port)


@pytest.mark.parametrize("source", [GATEWAY, OPERATOR, ENGINE_POD, SHAPE_POD, FETCH_POD, POOL_POD])
@pytest.mark.parametrize("port", [DNS, 80, 443, 6443, 8000])
def test_a_clouds_metadata_is_out_of_reach(policies: Any, source: Pod, port: int) -> None:
    assert not allowed(policies, source, METADATA, port)
    assert not allowed(policies, source, METADATA_6, port)


def test_pods_that_are_not_berths_are_left_alone(policies: Any) -> None:
    assert allowed(policies, STRANGER, NEIGHBOUR, 80)
    assert allowed(policies, NEIGHBOUR, METADATA, 80)


def test_an_administrator_can_open_a_mirror_and_close_the_gateway() -> None:
    opened = rendered(
        *VALUES,
        f"networkPolicy.hub[0].to[0].ipBlock.cidr={MIRROR.address}/32",
        "networkPolicy.hub[0].ports[0].port=8080",
        "networkPolicy.clients[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=ingress",
    )
    assert allowed(opened, ENGINE_POD, MIRROR, 8080)
    assert allowed(opened, Pod("ingress"), GATEWAY, CLIENTS)
    assert not allowed(opened, STRANGER, GATEWAY, CLIENTS)


def test_an_administrator_can_let_people_to_the_page_and_nobody_to_the_operators() -> None:
    who = (
        "networkPolicy.page[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=desks"
    )
    opened = rendered(*VALUES, who)
    assert allowed(opened, Pod("desks"), GATEWAY, MANAGEMENT)
    assert not allowed(opened, Pod("desks"), OPERATOR, OPERATOR_PAGES)
    assert not allowed(opened, STRANGER, GATEWAY, MANAGEMENT)


def test_without_a_list_of_namespaces_the_releases_own_is_guarded() -> None:
    policies = rendered("networkPolicy.enabled=true")
    engine = Pod(chart.NAMESPACE, ENGINE_POD.labels)
    assert allowed(policies, GATEWAY, engine, ENGINE)
    assert not allowed(policies, STRANGER, engine, ENGINE)


def test_none_is_rendered_unless_asked_for() -> None:
    assert rendered() == []


def test_the_api_server_takes_them(kubectl: Kubectl, namespace: str) -> None:
    for one in rendered("networkPolicy.enabled=true"):
        moved = one | {"metadata": one["metadata"] | {"namespace": namespace}}
        kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(moved))
