"""Models of an earlier release on a control plane, and what the operator of each release does to them.

Each operator runs with the configuration that its own release's chart renders, and each has to obey
one change of every model, so that it has surely decided upon all of them.
"""

import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import builders
import chart
import yaml
from cluster_client import ClusterClient
from kubelet import ending_shape_jobs
from operator_process import OperatorProcess
from releases import TODAY, Release

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.kinds import Kind
from dev import progress
from dev.controlplane import ControlPlane

Object = dict[str, Any]
NAMESPACE = "stored"
# Some twenty models on two busy cores.
DECIDED_SECONDS = 120.0
ESTABLISHED_SECONDS = 30.0
# Pools that hold whatever the objects ask for, planned without a node.
POOLS = [
    {
        "name": "nvidia",
        "engineProfile": "vllm",
        "resource": "nvidia.com/gpu",
        "memory": "80Gi",
        "gpusPerNode": 8,
    },
    {"name": "cpu", "engineProfile": "vllm-cpu", "memory": "64Gi"},
]
LLAMA_8B = {
    "commit": "0" * 40,
    "config": dict(builders.LLAMA_8B_CONFIG),
    "tensorBytes": {"BF16": 16_060_522_496},
    "tensorCount": 291,
    "fileBytes": 16_060_556_376,
}
# The fullest object's own would be refused where pods are made: tolerationSeconds is for NoExecute.
TOLERATIONS = [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]
# What it names, and pods may not name in vain.
_CLASSES = (
    {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "serving"},
        "value": 1,
    },
    {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "nvidia"},
        "handler": "nvidia",
    },
)


def of_release(release: Release, namespace: str = NAMESPACE) -> dict[str, Object]:
    """Its examples, its fullest object, and one for each field of that; by their names."""
    written = {
        "-".join(path.relative_to(release.tree / "examples").with_suffix("").parts): body["spec"]
        for path in release.examples
        for body in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if body["kind"] == names.KIND
    }
    (bodies,) = (release.tree / "tests").rglob("modeldeployments.py")
    known = runpy.run_path(str(bodies))
    least, most = known["MINIMAL"]["spec"], known["FULL"]["spec"]
    most |= {"podTemplate": most["podTemplate"] | {"tolerations": TOLERATIONS}}
    specs = {name.replace(".", "-"): spec for name, spec in written.items()}
    specs |= {f"only-{part.lower()}": least | {part: value} for part, value in most.items()}
    specs |= {"least": least, "most": most | {"paused": False}}
    return {
        name: {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        for name, spec in specs.items()
    }


def obeys(spec: Object) -> bool:
    """Whether its operator makes as many replicas as it says."""
    return not spec["paused"] and spec.get("scaling", {}).get("mode") != "Auto"


@dataclass
class OperatorOf(OperatorProcess):
    """An operator of one release, configured by that release's own chart."""

    release: Release = TODAY

    def _settings(self) -> Object:
        rendered = chart.render(
            f"--set=watchNamespaces={{{self.namespace}}}",
            f"--set=image.tag={self.release.tree.name}",
            f"--set-json=acceleratorProfiles={json.dumps(POOLS)}",
            namespace=self.namespace,
            folder=self.release.chart,
        )
        config = chart.objects(rendered)["ConfigMap", "berth-operator"]["data"]["config.yaml"]
        mine = {"leaderElection": False, "managementPort": self.port}
        settings: Object = yaml.safe_load(config) | mine
        return settings


@dataclass(frozen=True)
class Model:
    """What of one model an upgrade must leave alone, and the size that was asked for."""

    spec: Object
    templates: Object  # of pods, by Deployment
    revisions: frozenset[str]
    replicas: tuple[int, ...]


@dataclass
class StoredModels:
    """`stored` by name, on a control plane that nothing else uses."""

    plane: ControlPlane
    folder: Path
    stored: dict[str, Object]
    _client: ClusterClient = field(init=False)

    def __post_init__(self) -> None:
        self._client = ClusterClient(self.plane.kubeconfig)

    def define(self, release: Release) -> None:
        kubectl = self.plane.kubectl
        for definition in release.definitions:
            kubectl("apply", "--server-side", "--force-conflicts", "-f", str(definition))
        plurals = ",".join(path.name.partition(".")[0] for path in release.definitions)
        progress.wait_for(
            "the definitions",
            lambda: kubectl.succeeds("get", plurals),
            seconds=ESTABLISHED_SECONDS,
        )

    def store(self) -> None:
        """By kubectl, which is patient while the API server takes in the definition."""
        kubectl = self.plane.kubectl
        kubectl("create", "namespace", NAMESPACE)
        everything = {
            "apiVersion": "v1",
            "kind": "List",
            "items": [*_CLASSES, *self.stored.values()],
        }
        kubectl("create", "-f", "-", stdin=json.dumps(everything))

    def under(self, release: Release, replicas: int) -> dict[str, Model]:
        """What the release's operator makes of all models, each of them changed once."""
        directory = self.folder / f"{release.tree.name}-{replicas}"
        directory.mkdir()
        operator = OperatorOf(
            self.plane.kubeconfig,
            NAMESPACE,
            directory,
            python_path=release.python_path,
            release=release,
        ).start()
        try:
            operator.wait_until_ready()
            self._scale(replicas)
            with ending_shape_jobs(self.plane.kubeconfig, NAMESPACE, LLAMA_8B):
                self._wait_until("all have decided", self._decided)
                self._wait_until("all have their pods", lambda: self._made(replicas))
            return self.models()
        finally:
            operator.kill()

    def models(self) -> dict[str, Model]:
        deployments, revisions = self._all(kinds.DEPLOYMENT), self._all(kinds.REVISION)
        return {
            one["metadata"]["name"]: Model(
                spec=one["spec"],
                templates={_name(d): d["spec"]["template"] for d in _of(one, deployments)},
                revisions=frozenset(map(_name, _of(one, revisions))),
                replicas=tuple(d["spec"]["replicas"] for d in _of(one, deployments)),
            )
            for one in self._all(kinds.MODEL)
        }

    def _scale(self, replicas: int) -> None:
        for name in self.stored:
            path = kinds.MODEL.path(NAMESPACE, name)
            self._client.patch(path, {"spec": {"replicas": replicas}})

    def _decided(self) -> bool:
        return all(
            one.get("status", {}).get("observedGeneration") == one["metadata"]["generation"]
            for one in self._all(kinds.MODEL)
        )

    def _made(self, replicas: int) -> bool:
        """Also those of whom the first decision was to ask for the model's shape."""
        models = self.models().values()
        return all(len(one.templates) == 1 for one in models if not one.spec["paused"]) and all(
            one.replicas == (replicas,) for one in models if obeys(one.spec)
        )

    def _wait_until(self, what: str, true: Callable[[], bool]) -> None:
        progress.wait_for(what, true, seconds=DECIDED_SECONDS)

    def _all(self, kind: Kind) -> list[Object]:
        return self._client.items(kind.path(NAMESPACE))


def _of(model: Object, children: list[Object]) -> list[Object]:
    owner = model["metadata"]["uid"]
    return [one for one in children if one["metadata"]["ownerReferences"][0]["uid"] == owner]


def _name(one: Object) -> str:
    name: str = one["metadata"]["name"]
    return name
