"""What the chart gives Prometheus and Grafana, where it is told to."""

import json
from typing import Any

import chart
import pytest

ON = (
    "--set=metrics.serviceMonitor.enabled=true,metrics.dashboard.enabled=true",
    "--set=metrics.serviceMonitor.labels.release=prometheus",
)
KINDS = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
COMPONENTS = ("operator", "gateway")

Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def rendered() -> Objects:
    return chart.objects(chart.render(*ON))


@pytest.fixture(scope="module")
def monitor(rendered: Objects) -> dict[str, Any]:
    return rendered["ServiceMonitor", "berth"]


def test_by_default_there_is_nothing_that_needs_the_prometheus_operator() -> None:
    found = chart.objects(chart.render())
    assert not KINDS & {kind for kind, _ in found}
    assert ("ConfigMap", "berth-dashboard") not in found


def test_the_monitor_has_the_labels_that_a_prometheus_selects_by(monitor: dict[str, Any]) -> None:
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_the_monitor_asks_every_pod_once(rendered: Objects, monitor: dict[str, Any]) -> None:
    """The gateway's Service for clients has a port for metrics, too, and must not be a target."""
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = {
        name: one
        for (kind, name), one in rendered.items()
        if kind == "Service" and wanted <= one["metadata"]["labels"].items()
    }
    assert set(services) == {f"berth-{component}-metrics" for component in COMPONENTS}
    (endpoint,) = monitor["spec"]["endpoints"]
    for service in services.values():
        assert service["spec"]["clusterIP"] == "None"
        assert [port["name"] for port in service["spec"]["ports"]] == [endpoint["port"]]


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_metrics_service_leads_to_the_port_that_serves_them(
    rendered: Objects, component: str
) -> None:
    service = rendered["Service", f"berth-{component}-metrics"]["spec"]
    pods = {
        name: rendered["Deployment", name]["spec"]["template"]
        for kind, name in rendered
        if kind == "Deployment"
    }
    selected = {
        name
        for name, pod in pods.items()
        if service["selector"].items() <= pod["metadata"]["labels"].items()
    }
    assert selected == {f"berth-{component}"}
    (container,) = pods[f"berth-{component}"]["spec"]["containers"]
    (port,) = service["ports"]
    assert port["targetPort"] in {one["name"] for one in container["ports"]}


def test_a_series_keeps_the_namespace_of_its_model(monitor: dict[str, Any]) -> None:
    assert all(one["honorLabels"] for one in monitor["spec"]["endpoints"])


def test_the_dashboard_is_installed_as_it_is(rendered: Objects) -> None:
    found = rendered["ConfigMap", "berth-dashboard"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    file = chart.CHART / "dashboards" / "berth.json"
    assert json.loads(found["data"]["berth.json"]) == json.loads(file.read_text(encoding="utf-8"))
