"""A model whose replicas somebody else decides about: its operator, and a gateway that is asked.

There are no nodes, so no replica ever serves: every request is held, and the queue is as long as a
test wants it.
"""

import contextlib
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clusterapi
import yaml
from gateway_process import GatewayProcess
from operator_process import Models, OperatorProcess

from berth_api import names
from berth_gateway.state import queue_gauges
from dev.controlplane import ControlPlane

EXAMPLES = Path(__file__).parents[2] / "examples" / "scaling"
DEFINITION = Path(__file__).parents[2] / f"crds/{clusterapi.CRD_NAME}.yaml"
MODEL = "smollm2"
METRIC = queue_gauges.QUEUE_DEPTH
TARGET = 2  # requests for each replica
MOST = 4  # replicas

Object = dict[str, Any]


@dataclass
class Scene:
    models: Models
    gateway: GatewayProcess
    _clients: list[http.client.HTTPConnection] = field(default_factory=list)

    def ask(self, requests: int) -> None:
        """Each from a client that waits."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
        for _ in range(requests):
            client = http.client.HTTPConnection("127.0.0.1", self.gateway.port)
            client.request("POST", "/v1/chat/completions", json.dumps(body))
            self._clients.append(client)

    def leave(self) -> None:
        """Every client."""
        while self._clients:
            self._clients.pop().close()

    def depth(self) -> float | None:
        return self.gateway.metric(METRIC, namespace=self.models.namespace, model=MODEL)

    def asked_for(self) -> int:
        """What the scale subresource says."""
        replicas: int = self.models.get(names.PLURAL, MODEL)["spec"]["replicas"]
        return replicas

    def made(self) -> list[int]:
        """Replicas of the model's Deployments."""
        wanted = [name for kind, name in self.models.children(MODEL) if kind == "Deployment"]
        return [self.models.get("deployment", name)["spec"]["replicas"] for name in wanted]

    def wait_until(self, replicas: int, *, seconds: float) -> None:
        """Asked for by whoever scales, and made by the operator."""

        def reached() -> bool:
            return self.asked_for() == replicas and self.made() == [replicas]

        self.models.wait_for(f"{replicas} replicas", reached, seconds=seconds)

    def writers_of_replicas(self) -> set[str]:
        """Who has ever set spec.replicas and whose value still stands."""
        found = json.loads(
            self.models.kubectl(
                *("--namespace", self.models.namespace, "get", names.PLURAL, MODEL),
                *("-o", "json", "--show-managed-fields"),
            )
        )
        return {
            one["manager"]
            for one in found["metadata"]["managedFields"]
            if "f:replicas" in one["fieldsV1"].get("f:spec", {})
        }


@contextmanager
def scene(
    control_plane: ControlPlane, namespace: str, folder: Path, *, replicas: int
) -> Iterator[Scene]:
    """A model that has been planned, with as many replicas as it is created with."""
    kubectl = control_plane.kubectl
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(DEFINITION))
    operator = OperatorProcess(control_plane.kubeconfig, namespace, folder).start()
    models = Models(kubectl, namespace)
    places = ("--cluster", "--kubeconfig", str(control_plane.kubeconfig), "--auth", "None")
    spaces = ("--namespace", namespace, "--watch-namespaces", namespace)
    gateway = GatewayProcess(folder, (*places, *spaces))
    with contextlib.ExitStack() as stack:
        stack.callback(operator.kill)
        operator.wait_until_ready()
        stack.callback(gateway.kill)
        gateway.start()
        models.create(MODEL, replicas=replicas, scaling={"mode": "External", "maxReplicas": MOST})
        models.read_shape(MODEL)
        found = Scene(models, gateway)
        stack.callback(found.leave)
        found.wait_until(replicas, seconds=60)
        yield found


def example(name: str) -> Object:
    """A manifest of examples/scaling, for as many requests a replica as the tests have."""
    found: Object = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    return found
