"""Gateways with the pods that operators find them by, to be killed and started again."""

from dataclasses import dataclass

import said_nodes
from cluster_client import ClusterClient
from gateway_process import GatewayProcess
from operator_site import Site

from berth_api import names
from berth_operator.cluster import kinds

_READY, _UNREADY = "True", "False"


@dataclass
class GatewayPod:
    """A gateway and its pod, which the operators find it by; started again it has its old ports."""

    process: GatewayProcess
    site: Site
    name: str

    def make(self) -> None:
        self.process.start()
        labels = {
            names.LABEL_NAME: names.PART_OF,
            names.LABEL_COMPONENT: names.COMPONENT_GATEWAY,
        }
        ports = [{"name": "management", "containerPort": self.process.management_port}]
        container = {"name": "gateway", "image": "example.test/gateway:1", "ports": ports}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"containers": [container], "schedulerName": "none"},
        }
        cluster = self.site.another_client()
        cluster.create(kinds.POD.path(self.site.namespace), body)
        self._tell(cluster, _READY)

    def kill_and_start(self) -> None:
        """As a kubelet tells of it: a container that has ended makes its pod unready."""
        cluster = self.site.another_client()
        self.process.kill()
        self._tell(cluster, _UNREADY)
        self.process.start()
        self._tell(cluster, _READY)

    def _tell(self, cluster: ClusterClient, ready: str) -> None:
        now = said_nodes.timestamp()
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": now}
        address = {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
        status = {"phase": "Running", "conditions": [condition], **address}
        path = kinds.POD.path(self.site.namespace, self.name, "status")
        cluster.patch(path, {"status": status})
