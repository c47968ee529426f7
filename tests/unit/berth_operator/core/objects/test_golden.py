"""Every object of a ModelDeployment, whole, as YAML: a change of a template is a change to see.

`UPDATE_GOLDEN=1 pytest tests/unit/berth_operator/core/objects` writes the files anew.
"""

import json
from pathlib import Path
from typing import Any

import builders
import golden
import pytest
import yaml
from fakes.cluster_of_one import ClusterOfOne

from berth_api.server import ServerConfig
from berth_operator.core.observed import Node

NEW_NODE = Node("n", {}, {}, kubelet_version="v1.35.1", runtime_version="containerd://2.1.4")

CASES: dict[str, dict[str, Any]] = {
    "hub": {},
    "hub-with-token-and-cache": {
        "model": {
            "source": "hf://meta-llama/Llama-3.2-1B@main",
            "authSecretRef": {"name": "hf", "key": "token"},
            "cache": {"claimName": "models"},
        },
        "podTemplate": {
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "nodeSelector": {"pool": "models"},
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "serving",
            "annotations": {"example.test/team": "a"},
        },
    },
    "image-copied": {"model": {"source": "oci://example.test/smollm2:1"}},
    "image-mounted": {"model": {"source": "oci://example.test/smollm2:1"}},
    # No cache holds a claim's files, so that nothing is kept beside them either.
    "claim": {"model": {"source": "pvc://models/smollm2", "cache": {"claimName": "unused"}}},
    "adapters": {
        "model": {
            "source": "hf://meta-llama/Llama-3.2-1B@main",
            "authSecretRef": {"name": "hf", "key": "token"},
        },
        "adapters": [
            {"name": "sql", "source": "hf://berth/sql"},
            {"name": "poems", "source": "pvc://adapters/poems"},
            {"name": "law", "source": "pvc://adapters/law"},
        ],
        "defaults": {"adapter": "sql"},
    },
    "gpu": {
        "accelerators": [{"profile": "h100", "gpusPerReplica": 1}],
        "runtime": {"maxModelLen": 4096, "extraArgs": ["--seed", "7"]},
        "replicas": 2,
    },
}


# Models that a person would plan by hand, on nodes of eight cards that hold each of them.
EXAMPLES = Path(__file__).parents[5] / "examples" / "plan"
LARGE_NODES = [
    {
        "name": "h200",
        "engineProfile": "vllm",
        "resource": "nvidia.com/gpu",
        "memory": "141Gi",
        "gpusPerNode": 8,
    }
]


def rendered(case: str) -> list[dict[str, Any]]:
    """The shape Job's and then all other objects, with the server's configuration readable."""
    cluster = ClusterOfOne(cr=builders.model_deployment(**CASES[case]))
    if case == "image-mounted":
        cluster.known = {"nodes": (NEW_NODE,)}
    return _objects(cluster, builders.SMOLLM2_REPORT)


def rendered_example(name: str) -> list[dict[str, Any]]:
    spec = yaml.safe_load((EXAMPLES / name / "model.yaml").read_text(encoding="utf-8"))["spec"]
    shape = json.loads((EXAMPLES / name / "shape.json").read_text(encoding="utf-8"))
    cluster = ClusterOfOne(
        cr=builders.model_deployment(**spec),
        context=builders.context(acceleratorProfiles=LARGE_NODES),
    )
    return _objects(cluster, shape)


def _objects(cluster: ClusterOfOne, shape: dict[str, Any]) -> list[dict[str, Any]]:
    job = cluster.step().apply
    cluster.read_shape(shape)
    others = cluster.step().apply
    if adapters := cluster.cr["spec"].get("adapters"):
        cluster.read_adapters(*(builders.adapter(one["source"]) for one in adapters))
        others = [*others, *cluster.step().apply]
    kept = [one for one in others if one["kind"] not in ("Secret", "ControllerRevision")]
    return [golden.readable(one) for one in [*job, *kept]]


@pytest.mark.parametrize("case", CASES)
def test_objects_are_the_golden_ones(case: str) -> None:
    golden.compare_objects(case, rendered(case))


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_known_models_get_the_golden_pods(name: str) -> None:
    golden.compare_objects(f"model-{name}", rendered_example(name))


@pytest.mark.parametrize("case", CASES)
def test_every_container_is_restricted(case: str) -> None:
    for thing in rendered(case):
        if thing["kind"] not in ("Job", "Deployment"):
            continue
        pod = thing["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        for container in golden.containers(thing):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_only_the_fetcher_and_the_shape_job_see_the_token() -> None:
    for thing in rendered("hub-with-token-and-cache"):
        pod = thing["spec"].get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            sees = any("valueFrom" in variable for variable in container.get("env", []))
            assert sees == (container["name"] in ("fetch", "shape"))


def test_of_adapters_the_fetcher_and_the_job_see_the_token_too() -> None:
    for thing in rendered("adapters"):
        pod = thing["spec"].get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            sees = any("valueFrom" in variable for variable in container.get("env", []))
            assert sees == (container["name"] != "engine")


def test_the_servers_configuration_is_the_contracts() -> None:
    deployment = rendered("gpu")[-1]
    (engine,) = deployment["spec"]["template"]["spec"]["containers"]
    value = next(v["value"] for v in engine["env"] if v["name"] == "BERTH_SERVER_CONFIG")
    config = ServerConfig.model_validate(value)
    assert config.engines[0].extra_args == ["--seed", "7"]
    assert config.engines[0].max_model_len == 4096
