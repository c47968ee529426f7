"""A pool of stand-in engines with everything of Berth around it, each part a process to be killed.

Two operators, of which one leads, two gateways, and pods with a card each: on a real API server.
"""

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import invariants
import said_nodes
from gateway_pods import GatewayPod
from gateway_process import GatewayProcess
from kubelet import every
from operator_process import GATEWAY, OperatorProcess, account_kubeconfig
from operator_site import Site, wait_for
from pool_pods import PoolKubelet
from pool_scene import CARD_BYTES, CLAIM, PODS, POOL, Scene, source
from said_nodes import SaidNode

from berth_api import names
from berth_operator.cluster import kinds

Object = dict[str, Any]

LOOK_SECONDS = 0.2
START_SECONDS = 90.0
_PLACED = "4Gi"  # of the claim, which nobody fills


@dataclass
class PoolSite:
    site: Site
    scene: Scene
    folder: Path
    node: SaidNode
    kubelet: PoolKubelet
    gateways: list[GatewayPod] = field(default_factory=list)

    @property
    def operators(self) -> list[OperatorProcess]:
        return self.site.operators

    def key(self) -> str:
        """The API key that a new release has."""
        path = kinds.SECRET.path(self.site.namespace, names.SECRET_FIRST_API_KEY)
        data = self.site.cluster.get(path)["data"]
        return base64.b64decode(data[names.FIRST_API_KEY_FIELD]).decode()

    def status(self) -> Object:
        pool = self.site.cluster.get(kinds.POOL.path(self.site.namespace, POOL))
        found: Object = pool.get("status", {})
        return found

    def swaps(self) -> int:
        """Engines that were ended; with a keep-alive of an hour, each for another's sake."""
        return sum(pod.log().count(": stop\n") for pod in self.kubelet.pods.values())

    def refused(self) -> int:
        """Starts that a card had no memory for."""
        return sum(pod.cards.refused for pod in self.kubelet.pods.values())

    def differences(self) -> list[str]:
        """Between what the pool says of its pods and what they say themselves."""
        told = {
            (one["pod"], one["id"]): (one["state"], one["memoryBytes"])
            for one in self.status()["engines"]
            if one.get("pod")
        }
        seen = {
            (pod.name, one.id): (one.phase.value, one.memory_bytes)
            for pod in self.kubelet.pods.values()
            for one in pod.report().engines
        }
        return [
            f"{place}: the pool says {told.get(place)}, the pod {seen.get(place)}"
            for place in sorted(told.keys() | seen.keys(), key=str)
            if told.get(place) != seen.get(place)
        ]

    def alarms(self) -> list[str]:
        """Of gateways and pods; the operators' are the site's."""
        logs = [one.process.log.read_text() for one in self.gateways]
        logs += [pod.log() for pod in self.kubelet.pods.values()]
        return [line for log in logs for line in invariants.alarms(log, ())]

    def _start_operators(self, count: int) -> None:
        for _ in range(count):
            one = self.site.new()
            one.configured = self.scene.settings(self.node.pool)
            one.start()
        for one in self.operators:
            one.wait_until_ready()

    def _start_gateways(self, count: int) -> None:
        for number in range(count):
            directory = self.folder / f"gateway-{number}"
            directory.mkdir()
            space = self.site.namespace
            access = account_kubeconfig(self.site.kubectl, space, directory, account=GATEWAY)
            spaces = ("--namespace", space, "--watch-namespaces", space)
            process = GatewayProcess(directory, ("--cluster", "--kubeconfig", str(access), *spaces))
            self.gateways.append(GatewayPod(process, self.site, f"gateway-{number}"))
            self.gateways[-1].make()

    def _make_pool(self) -> None:
        self.site.kubectl.apply(*_claim(self.site.namespace))
        cluster, space = self.site.cluster, self.site.namespace
        cluster.create(kinds.POOL.path(space), self.scene.pool())
        for name, share in self.scene.shares.items():
            self.site.create(
                name,
                source=source(name),
                pool=POOL,
                keepAlive="1h",
                memory={"gpuMemoryFraction": share},
                runtime={"maxModelLen": 2048},
                queue={"maxWaitSeconds": self.scene.max_wait_seconds},
            )

    def _is_up(self) -> bool:
        models = [self.site.model(name) for name in self.scene.shares]
        planned = all(one.get("status", {}).get("phase") == "Idle" for one in models)
        return planned and self.status().get("readyReplicas") == PODS

    def stop(self) -> None:
        for gateway in self.gateways:
            gateway.process.kill()
        self.site.stop()
        self.kubelet.stop()
        self.site.kubectl("delete", "persistentvolume", self.site.namespace, "--wait=false")


@contextlib.contextmanager
def pool_site(site: Site, scene: Scene, folder: Path) -> Iterator[PoolSite]:
    """Everything is up, and no model is loaded."""
    node = SaidNode(site.plane.kubeconfig, site.namespace, f"node-{site.namespace}", PODS)
    node.make()
    kubelet = PoolKubelet(
        site.plane.kubeconfig, site.namespace, folder, (CARD_BYTES,), tuple(scene.shares)
    )
    found = PoolSite(site, scene, folder, node, kubelet)
    with said_nodes.beating([node]), every(LOOK_SECONDS, kubelet.look, "kubelet"):
        try:
            found._make_pool()
            found._start_operators(2)
            found._start_gateways(2)
            wait_for("the pool", found._is_up, seconds=START_SECONDS)
            yield found
        finally:
            found.stop()


def _claim(namespace: str) -> list[Object]:
    """A volume that is its claim's already: nobody provisions here."""
    amount = {"storage": _PLACED}
    reference = {"namespace": namespace, "name": CLAIM}
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": {
            **common,
            "capacity": amount,
            "claimRef": reference,
            "hostPath": {"path": "/nowhere"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": reference,
        "spec": {**common, "volumeName": namespace, "resources": {"requests": amount}},
    }
    return [volume, claim]
