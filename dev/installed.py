"""Berth as it is installed in a real cluster, and what a test may do to it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import binaries, places, progress, restricted
from dev.kubectl import Kubectl

SYSTEM = "berth-system"
RELEASE = "berth"
CHART = places.REPOSITORY / "charts" / "berth"
RUNTIME_IMAGE = "localhost/berth-runtime-cpu:dev"
CONTROL_IMAGE = "localhost/berth-control:dev"
WEIGHTS_IMAGE = "localhost/smollm2:dev"
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Berth:
    kubectl: Kubectl
    url: str  # of the gateway's Service, without /v1
    key: str
    audit_log: Path | None  # of the API server, where the test's own cluster writes one

    def helm(self, *flags: str) -> None:
        """Upgrade the release: the chart's defaults, what was set before, and these flags."""
        progress.run(
            [
                *(binaries.path("helm"), "upgrade", RELEASE, CHART, "--reset-then-reuse-values"),
                *(f"--kubeconfig={self.kubectl.kubeconfig}", f"--namespace={SYSTEM}"),
                *flags,
                *("--wait", "--timeout=180s"),
            ]
        )

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.kubectl.apply(*(dict(one) for one in objects))

    def status(self, name: str, namespace: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = self.get("modeldeployment", name, namespace).get("status", {})
        return found

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = self.kubectl.json("get", kind, name, "-n", namespace)
        return found

    def all(
        self, kind: str, namespace: str = "default", selector: str = ""
    ) -> list[dict[str, Any]]:
        flags = ["-l", selector] if selector else []
        found: list[dict[str, Any]] = self.kubectl.json("get", kind, "-n", namespace, *flags)[
            "items"
        ]
        return found

    def wait(
        self,
        name: str,
        wanted: Callable[[dict[str, Any]], bool],
        *,
        seconds: float,
        namespace: str = "default",
    ) -> dict[str, Any]:
        """The first status that is as wanted; AssertionError with the last one otherwise."""
        deadline = time.monotonic() + seconds
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            status = self.status(name, namespace)
            if wanted(status):
                return status
            time.sleep(_POLL_SECONDS)
        raise AssertionError(f"{name} after {seconds} s: {json.dumps(status, indent=1)}")

    def wait_until(self, what: str, true: Callable[[], bool], *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(_POLL_SECONDS)

    @contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """A namespace of restricted pods, gone again afterwards with all that is in it."""
        self.apply(restricted.namespace(name))
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait", "--timeout=120s")

    def run_beside_the_model(
        self, script: str, arguments: list[str], environment: Mapping[str, str]
    ) -> str:
        """The log of a Python script run in the runtime image with the demo's weights."""
        self.kubectl("delete", "pod", "beside", "--ignore-not-found", "--wait")
        self.apply(script_pod(script, arguments, environment))
        try:
            self.wait_until("the script has ended", self._script_ended, seconds=600)
            return self.kubectl("logs", "beside", "-c", "script")
        finally:
            self.kubectl("delete", "pod", "beside", "--wait=false")

    def _script_ended(self) -> bool:
        phase = self.get("pod", "beside")["status"]["phase"]
        assert phase != "Failed", self.kubectl("logs", "beside", "-c", "script")
        return bool(phase == "Succeeded")


def script_pod(script: str, arguments: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """The weights' image holds no program, so a static one is brought along to copy them."""
    tools = {"name": "tools", "mountPath": "/tools"}
    model = {"name": "model", "mountPath": "/model"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "beside", "namespace": "default"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": restricted.POD,
            "initContainers": [
                {
                    "name": "tools",
                    "image": CONTROL_IMAGE,
                    "command": ["/bin/busybox", "cp", "/bin/busybox", "/tools/"],
                    "securityContext": restricted.CONTAINER,
                    "volumeMounts": [tools],
                },
                {
                    "name": "copy",
                    "image": WEIGHTS_IMAGE,
                    "command": ["/tools/busybox", "cp", "-r", "/models/.", "/model/"],
                    "securityContext": restricted.CONTAINER,
                    "volumeMounts": [tools, model],
                },
            ],
            "containers": [
                {
                    "name": "script",
                    "image": RUNTIME_IMAGE,
                    "command": ["python3", "-c", script, "/model", *arguments],
                    "env": [{"name": k, "value": v} for k, v in environment.items()],
                    "securityContext": restricted.CONTAINER,
                    "volumeMounts": [model],
                }
            ],
            "volumes": [{"name": "tools", "emptyDir": {}}, {"name": "model", "emptyDir": {}}],
        },
    }
