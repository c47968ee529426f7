"""The operator as its own process, on a real API server, and the models that a test gives it."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
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
START_SECONDS = 90.0  # its imports alone are seconds of a core that others may have
SETTLE_SECONDS = 30.0  # what takes a second here may take ten on a busy machine
OPERATOR, GATEWAY = "berth-operator", "berth-gateway"  # the chart's service accounts
_API_HOST, _API_PORT = "kubernetes.default.svc", 443  # as a pod knows the API server
# $0 is a hosts file, $1 the folder of a service account, the rest a command.
_MOUNT = """set -e
mount --bind "$0" /etc/hosts
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io
ln -s "$1" /run/secrets/kubernetes.io/serviceaccount
shift
exec "$@"
"""
_PORTS = range(20_000, 32_768)
# Fields of /proc/<pid>/stat, counted from the one that follows the name.
_USER_TIME_FIELD = 11
_SYSTEM_TIME_FIELD = 12
_CHILDREN = "jobs,deployments.apps,controllerrevisions.apps,services,secrets,poddisruptionbudgets"
_WITH_STATUS = "jobs,deployments.apps,poddisruptionbudgets"
_RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@dataclass
class OperatorProcess:
    """`python -m berth_operator` for one namespace, with the rights that the chart gives it."""

    kubeconfig: Path
    namespace: str
    directory: Path
    leader_election: bool = False  # whoever is killed keeps its Lease for 15 s
    configured: Object = field(default_factory=dict)  # settings that differ from the tests' own
    everywhere: bool = False  # for all namespaces instead of its own
    mounted: Path | None = None  # a service account's files; None: it has the kubeconfig
    python_path: Sequence[str] = field(default_factory=lambda: tuple(sys.path))
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> "OperatorProcess":
        self.port = _free_port()
        config = self.directory / f"config-{self.port}.json"
        config.write_text(json.dumps(self._settings()))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(self.python_path),
            "BERTH_CONFIG": str(config),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), env=environment | self._access(), stdout=log, stderr=log
            )
        return self

    @property
    def log(self) -> Path:
        return self.directory / "operator.log"

    def wait_until_ready(self) -> "OperatorProcess":
        progress.wait_for("the operator", self._is_ready, seconds=START_SECONDS)
        return self

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> int:
        """As the kubelet does; returns the exit code."""
        return self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """As a hypervisor does, or a node that swaps; `resume` ends it."""
        self._started.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._started.send_signal(signal.SIGCONT)

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._started.poll()

    def is_running(self) -> bool:
        return self._process is not None and self.exit_code() is None

    def token(self) -> str:
        """The one that it was started with."""
        token: str = yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]["token"]
        return token

    def cpu_seconds(self) -> float:
        """Of processor time, since it started."""
        fields = self._proc("stat").rpartition(")")[2].split()
        user, system = fields[_USER_TIME_FIELD], fields[_SYSTEM_TIME_FIELD]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def peak_bytes(self) -> int:
        """The most memory that it has had resident."""
        (line,) = [one for one in self._proc("status").splitlines() if one.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    def metric(self, name: str) -> float:
        """The sum over all labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
        return sum(sample.value for sample in samples if sample.name == name)

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._started.pid}/{name}").read_text()

    def _access(self) -> dict[str, str]:
        """How it finds the API server."""
        if self.mounted is None:
            return {"KUBECONFIG": str(self.kubeconfig)}
        return {"KUBERNETES_SERVICE_HOST": _API_HOST, "KUBERNETES_SERVICE_PORT": str(_API_PORT)}

    def _command(self) -> list[str]:
        """In a pod's mounts where it has them; it is the process that is started, either way."""
        command = [sys.executable, "-m", "berth_operator"]
        if self.mounted is None:
            return command
        hosts = self.directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {_API_HOST}\n")
        in_mounts = ["unshare", "--mount", "sh", "-c", _MOUNT]
        return [*in_mounts, str(hosts), str(self.mounted), *command]

    def _settings(self) -> Object:
        found = builders.configured(
            namespace=self.namespace,
            watchNamespaces=[] if self.everywhere else [self.namespace],
            leaderElection=self.leader_election,
            managementPort=self.port,
            **self.configured,
        )
        return found.wire()

    def _signal(self, number: int) -> int:
        self._started.send_signal(number)
        return self._started.wait(timeout=SETTLE_SECONDS)

    def _is_ready(self) -> bool:
        assert self.exit_code() is None, self.log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        except (urllib.error.URLError, OSError):
            return False
        return True


def _free_port() -> int:
    """That nobody listens on, and below those from which the kernel takes connections' own.

    An operator is seconds under way before it binds it, and would meet one of these now and then.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("", port))
            return port
    raise AssertionError(f"no free port in {_PORTS}")


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
        return {
            (one["kind"], one["metadata"]["name"])
            for one in self._list(_CHILDREN)
            if any(o["name"] == name for o in one["metadata"].get("ownerReferences", []))
        }

    def versions(self) -> dict[tuple[str, str], str]:
        """Resource versions of the models and of what the operator made for them."""
        return {
            (one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"]
            for one in self._list(f"{names.PLURAL},{_CHILDREN}")
        }

    def written(self) -> dict[tuple[str, str], str]:
        """The same, of what Berth writes: of some kinds Kubernetes itself writes the status."""
        generations = {
            (one["kind"], one["metadata"]["name"]): str(one["metadata"]["generation"])
            for one in self._list(_WITH_STATUS)
        }
        return self.versions() | generations

    def events(self) -> list[str]:
        """Reasons of what the operator has told of its objects, which it does after their status."""
        told = self._list("events")
        return [one["reason"] for one in told if one["involvedObject"]["kind"] == names.KIND]

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

    def _list(self, kinds: str) -> list[Object]:
        found: list[Object] = json.loads(self._run("get", kinds, "-o", "json"))["items"]
        return found

    def _run(self, *arguments: str, stdin: str | None = None) -> str:
        return self.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)


def chart_rights(namespace: str, *values: str, everywhere: bool = False) -> list[Object]:
    """What of the chart says what the operator may do, for a release that serves its own namespace.

    Or every namespace.
    """
    watched = json.dumps([] if everywhere else [namespace])
    rendered = chart.render(
        "--set",
        "crds.enabled=false",
        "--set-json",
        f"watchNamespaces={watched}",
        *(f"--set={value}" for value in values),
        namespace=namespace,
    )
    found = [one for one in chart.objects(rendered).values() if one["kind"] in _RIGHTS]
    return [one if "Cluster" in one["kind"] else _in(one, namespace) for one in found]


def _in(obj: Object, namespace: str) -> Object:
    return obj | {"metadata": obj["metadata"] | {"namespace": namespace}}


def account_kubeconfig(
    kubectl: Kubectl,
    namespace: str,
    directory: Path,
    server: str | None = None,
    *,
    account: str = OPERATOR,
) -> Path:
    """A service account of the chart, as a kubeconfig with a token of its own.

    `server` is the URL of something in between that speaks plain HTTP.
    """
    document = yaml.safe_load(kubectl.kubeconfig.read_text())
    cluster = document["clusters"][0]
    if server is not None:
        cluster |= {"cluster": {"server": server}}
    user = {
        "name": "operator",
        "user": {"token": account_token(kubectl, namespace, account=account)},
    }
    context = {"cluster": cluster["name"], "user": "operator", "namespace": namespace}
    document |= {
        "users": [user],
        "contexts": [{"name": "operator", "context": context}],
        "current-context": "operator",
    }
    path = directory / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def account_token(kubectl: Kubectl, namespace: str, *flags: str, account: str = OPERATOR) -> str:
    """A new one, so that the audit log tells two processes with one account apart."""
    return kubectl("--namespace", namespace, "create", "token", account, *flags).strip()
