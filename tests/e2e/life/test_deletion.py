"""A model that is deleted leaves nothing behind, also while the operator is away."""

from collections.abc import Iterator

import pytest

from dev import standin
from dev.installed import SYSTEM, Berth

NAMESPACE = "berth-e2e-deletion"
KINDS = (
    "deployments,replicasets,pods,services,endpointslices,secrets,jobs,controllerrevisions,"
    "poddisruptionbudgets,configmaps"
)
GONE_SECONDS = 90


@pytest.fixture
def namespace(berth: Berth, standins: None) -> Iterator[str]:
    with standin.hub(berth, NAMESPACE) as name:
        yield name


@pytest.fixture
def served(berth: Berth, namespace: str) -> str:
    berth.apply(standin.model(namespace, "tiny", "hf://berth/tiny"))
    berth.wait("tiny", lambda s: s.get("phase") == "Serving", seconds=120, namespace=namespace)
    return "tiny"


def left(berth: Berth, namespace: str, name: str) -> list[str]:
    found = berth.all(KINDS, namespace, f"berth.dev/model={name}")
    return [f"{one['kind']}/{one['metadata']['name']}" for one in found]


def test_nothing_is_left(berth: Berth, namespace: str, served: str) -> None:
    assert {one.split("/")[0] for one in left(berth, namespace, served)} >= {
        "Deployment",
        "Service",
        "Secret",
        "ControllerRevision",
        "PodDisruptionBudget",
        "Pod",
    }
    berth.kubectl("delete", "mdep", served, "-n", namespace, "--wait", "--timeout=5s")
    berth.wait_until(
        "nothing is left", lambda: not left(berth, namespace, served), seconds=GONE_SECONDS
    )


def test_nothing_is_left_while_the_operator_is_down(
    berth: Berth, namespace: str, served: str
) -> None:
    operator = ("deployment/berth-operator", "-n", SYSTEM)
    berth.kubectl("scale", *operator, "--replicas=0")
    berth.wait_until(
        "the operator is down",
        lambda: not berth.all("pods", SYSTEM, "app.kubernetes.io/component=operator"),
        seconds=60,
    )
    try:
        berth.kubectl("delete", "mdep", served, "-n", namespace, "--wait", "--timeout=5s")
        berth.wait_until(
            "nothing is left", lambda: not left(berth, namespace, served), seconds=GONE_SECONDS
        )
    finally:
        berth.kubectl("scale", *operator, "--replicas=1")
        berth.kubectl("rollout", "status", *operator, "--timeout=120s")
