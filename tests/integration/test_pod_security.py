"""Every pod that Berth makes, where the API server lets in restricted ones only."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chart
import pytest
import yaml

from dev import restricted
from dev.errors import CommandFailedError
from dev.installed import script_pod
from dev.kubectl import Kubectl

GOLDEN = Path(__file__).parents[1] / "golden" / "operator"
# All of which make pods, but for a pool's routes.
RENDERED = sorted(path.name for path in GOLDEN.glob("*.yaml") if path.name != "pool-routes.yaml")


@pytest.fixture(scope="module")
def guarded(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of restricted pods, with the service accounts that the chart's name."""
    name = f"berth-test-{uuid.uuid4().hex[:8]}"
    kubectl.apply(restricted.namespace(name))
    for account in ("default", "berth-operator", "berth-gateway"):
        body = {"apiVersion": "v1", "kind": "ServiceAccount"}
        kubectl.apply(body | {"metadata": {"name": account, "namespace": name}})
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def templates(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["spec"]["template"] for one in objects if "template" in one.get("spec", {})]


def pod(template: dict[str, Any], name: str, namespace: str) -> dict[str, Any]:
    """As an admission sees it, without what other objects must exist for."""
    spec = {"restartPolicy": "Never"} | template["spec"]
    for reference in ("priorityClassName", "runtimeClassName"):
        spec.pop(reference, None)
    for kind in ("initContainers", "containers"):  # the golden files show an env's JSON as a map
        spec[kind] = [one | {"env": []} for one in spec.get(kind, [])]
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def let_in(kubectl: Kubectl, namespace: str, templates: list[dict[str, Any]]) -> None:
    """Raises CommandFailedError with the admission's words for the first pod that is refused."""
    pods = [pod(one, f"pod-{index}", namespace) for index, one in enumerate(templates)]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    kubectl("create", "--dry-run=server", "-f", "-", stdin=body)


@pytest.mark.parametrize("name", RENDERED)
def test_engines_fetchers_and_shape_jobs_are_let_in(
    kubectl: Kubectl, guarded: str, name: str
) -> None:
    found = templates([one for one in yaml.safe_load_all((GOLDEN / name).read_text()) if one])
    assert found
    let_in(kubectl, guarded, found)


@pytest.mark.parametrize("case", ["default", "everything"])
def test_the_operator_and_the_gateway_are_let_in(kubectl: Kubectl, guarded: str, case: str) -> None:
    rendered = chart.objects(chart.render("--values", chart.case(case)))
    found = templates(list(rendered.values()))
    assert len(found) == 2
    let_in(kubectl, guarded, found)


def test_the_developers_own_pods_are_let_in(kubectl: Kubectl, guarded: str) -> None:
    let_in(kubectl, guarded, [script_pod("", [], {})])


def test_a_pod_that_asks_for_more_is_not(kubectl: Kubectl, guarded: str) -> None:
    (template, *_) = templates(list(yaml.safe_load_all((GOLDEN / "hub.yaml").read_text())))
    root = template["spec"]["securityContext"] | {"runAsNonRoot": False}
    with pytest.raises(CommandFailedError) as refused:
        let_in(kubectl, guarded, [{"spec": template["spec"] | {"securityContext": root}}])
    assert 'violates PodSecurity "restricted' in refused.value.output
