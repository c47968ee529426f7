"""The operator as its own process, on a real API server, and the models that a test gives it."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import builders
import chart
import yaml
from prometheus_client.parser import text_string_to_metric_families

from berth_api import names
from berth_api.shape import Failure
from dev import progress
from dev.kubectl import Kubectl

Object = dict[str, Any]
SETTLE_SECONDS = 30.0  # what takes a second here may take ten on a busy machine
_CHILDREN = "jobs,deployments.apps,controllerrevisions.apps,services,secrets,poddisruptionbudgets"
_RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@dataclass
class OperatorProcess:
    """`python -m berth_operator` for one namespace, with the rights that the chart gives it."""

    kubeconfig: Path
    namespace: str
    directory: Path
    leader_election: bool = False  # whoever is killed keeps its Lease for 15 s
    configured: Object = field(default_factory=dict)  # settings that differ from the tests' own
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> "OperatorProcess":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = builders.configured(
            namespace=self.namespace,
            watchNamespaces=[self.namespace],
            leaderElection=self.leader_election,
            managementPort=self.port,
            **self.configured,
        )
        config = self.directory / f"config-{self.port}.json"
        config.write_text(json.dumps(settings.wire()))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(sys.path),
            "KUBECONFIG": str(self.kubeconfig),
            "BERTH_CONFIG": str(config),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "berth_operator"], env=environment, stdout=log, stderr=log
            )
        return self

    @property
    def log(self) -> Path:
        return self.directory / "operator.log"

    def wait_until_ready(self) -> "OperatorProcess":
        progress.wait_for("the operator", self._is_ready, seconds=SETTLE_SECONDS)
        return self

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> int:
        """As the kubelet does; returns the exit code."""
        return self._signal(signal.SIGTERM)

    def metric(self, name: str) -> float:
        """The sum over all labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
        return sum(sample.value for sample in samples if sample.name == name)

    def _signal(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=SETTLE_SECONDS)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        except (urllib.error.URLError, OSError):
            return False
        return True


@dataclass(frozen=True)
class Models:
    """ModelDeployments of one namespace and what was made for them."""

    kubectl: Kubectl
    namespace: str
    finished: set[str] = field(default_factory=set)

    def create(self, name: str = "smol", **spec: Any) -> None:
        body = builders.model_deployment(**spec)
        self._run("create", "-f", "-", stdin=json.dumps(body | {"metadata": {"name": name}}))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self._run("get", kind, name, "-o", "json"))
        return found

    def status(self, name: str = "smol") -> Object:
        status: Object = self.get(names.PLURAL, name).get("status", {})
        return status

    def children(self, name: str = "smol") -> set[tuple[str, str]]:
        """Kind and name of everything that the model owns itself."""
        found = json.loads(self._run("get", _CHILDREN, "-o", "json"))["items"]
        return {
            (one["kind"], one["metadata"]["name"])
            for one in found
            if any(o["name"] == name for o in one["metadata"].get("ownerReferences", []))
        }

    def versions(self) -> dict[tuple[str, str], str]:
        """Resource versions of the models and of what the operator made for them."""
        found = json.loads(self._run("get", f"{names.PLURAL},{_CHILDREN}", "-o", "json"))["items"]
        return {
            (one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"]
            for one in found
        }

    def wait_for(self, what: str, ready: Any, *, seconds: float = SETTLE_SECONDS) -> None:
        progress.wait_for(what, ready, seconds=seconds)

    def wait_for_children(self, *kinds: str, name: str = "smol") -> None:
        def there() -> bool:
            return {kind for kind, _ in self.children(name)} >= set(kinds)

        self.wait_for(f"{', '.join(kinds)} of {name}", there)

    def read_shape(
        self, name: str = "smol", report: Mapping[str, Any] = builders.SMOLLM2_REPORT
    ) -> None:
        """As the kubelet, once the shape Job's pod exists: it has ended with its answer."""
        label = f"{names.LABEL_MODEL}={name},{names.LABEL_ROLE}={names.ROLE_SHAPE}"
        self._end_pod(label, 0, json.dumps(report), phase="Succeeded")

    def fail_engine(self, failure: Failure, name: str = "smol") -> None:
        """As the kubelet, once the update revision's pod has a node: its engine has ended so."""
        revision = self.status(name)["updateRevision"]
        label = f"{names.LABEL_REVISION}={revision},{names.LABEL_ROLE}={names.ROLE_ENGINE}"
        message = failure.model_dump_json(exclude_none=True)
        self._end_pod(label, 1, message, phase="Running", placed=True)

    def _end_pod(
        self, selector: str, code: int, message: str, *, phase: str, placed: bool = False
    ) -> None:
        def pods() -> list[Object]:
            found: list[Object] = json.loads(
                self._run("get", "pods", "-l", selector, "-o", "json")
            )["items"]
            return [pod for pod in found if "nodeName" in pod["spec"] or not placed]

        self.wait_for(f"the pod of {selector}", lambda: bool(pods()))
        (pod, *_) = pods()
        container = pod["spec"]["containers"][0]["name"]
        ended = builders.ended(container, code, message)
        state = ended["state"]["terminated"] | {"startedAt": "2026-01-02T03:04:00Z"}
        status = {
            "phase": phase,
            "containerStatuses": [ended | {"imageID": "", "state": {"terminated": state}}],
        }
        patch = json.dumps({"status": status})
        pod_name = pod["metadata"]["name"]
        self._run("patch", "pod", pod_name, "--subresource=status", "--type=merge", "-p", patch)

    def edit(self, kind: str, name: str, patch: Object) -> None:
        self._run("patch", kind, name, "--type=merge", "-p", json.dumps(patch))

    def delete(self, kind: str, name: str) -> None:
        self._run("delete", kind, name, "--wait=false")

    def apply(self, *objects: Object) -> None:
        for one in objects:
            self._run("apply", "-f", "-", stdin=json.dumps(one))

    def _run(self, *arguments: str, stdin: str | None = None) -> str:
        return self.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)


def chart_rights(namespace: str) -> list[Object]:
    """What of the chart says what the operator may do, for a release that serves its own namespace."""
    rendered = chart.render(
        "--set",
        "crds.enabled=false",
        "--set",
        f"watchNamespaces={{{namespace}}}",
        namespace=namespace,
    )
    found = [one for one in chart.objects(rendered).values() if one["kind"] in _RIGHTS]
    return [one if "Cluster" in one["kind"] else _in(one, namespace) for one in found]


def _in(obj: Object, namespace: str) -> Object:
    return obj | {"metadata": obj["metadata"] | {"namespace": namespace}}


def account_kubeconfig(kubectl: Kubectl, namespace: str, directory: Path) -> Path:
    """The chart's service account, as a kubeconfig."""
    token = kubectl("--namespace", namespace, "create", "token", "berth-operator").strip()
    document = yaml.safe_load(kubectl.kubeconfig.read_text())
    cluster = document["clusters"][0]
    user = {"name": "operator", "user": {"token": token}}
    context = {"cluster": cluster["name"], "user": "operator", "namespace": namespace}
    document |= {
        "users": [user],
        "contexts": [{"name": "operator", "context": context}],
        "current-context": "operator",
    }
    path = directory / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path
