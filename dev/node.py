"""The one node: containerd, kubelet, kube-proxy and cluster DNS on top of a control plane.

Everything is a plain process of this machine. Order matters in one place: kubelet starts once
containerd answers and holds the pause image, or the first sandboxes fail and back off.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import binaries, cgroups, dns, host, network, progress
from dev.containerd import Containerd
from dev.controlplane import POD_CIDR, ControlPlane
from dev.processes import Daemon

NAME = "berth-dev"
READY_SECONDS = 120.0

_CNI = {
    "cniVersion": "1.0.0",
    "name": "berth-dev",
    "plugins": [
        {
            "type": "bridge",
            "bridge": network.BRIDGE,
            "isGateway": True,
            "hairpinMode": True,  # a pod may reach itself through its Service
        },
    ],
}


@dataclass(frozen=True)
class Node:
    control_plane: ControlPlane
    containerd: Containerd

    @property
    def state_dir(self) -> Path:
        return self.control_plane.state_dir

    @property
    def daemons(self) -> tuple[Daemon, Daemon]:
        """In the order of starting."""
        folder = self.state_dir / "run"
        return Daemon("kubelet", folder), Daemon("kube-proxy", folder)

    def start(self) -> None:
        """Start what does not run and return when pods can run and find each other by name."""
        kubelet, proxy = self.daemons
        # A running kube-proxy ends when its configuration is written again, even unchanged.
        if kubelet.pid() is None:
            self._write_cni_config()
            kubelet.start(self._kubelet_command())
        if proxy.pid() is None:
            proxy.start(self._proxy_command())
        kubectl = self.control_plane.kubectl
        kubectl.apply(*dns.OBJECTS)

        def ready() -> bool:
            kubelet.check()
            proxy.check()
            return dns.answers()

        progress.wait_for("the node and its DNS", ready, seconds=READY_SECONDS)
        kubectl("wait", f"node/{NAME}", "--for=condition=Ready", f"--timeout={READY_SECONDS:.0f}s")

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.stop()
        self.containerd.stop()
        host.unmount_below(self.state_dir)
        cgroups.kill()
        cgroups.remove()

    def _write_cni_config(self) -> None:
        address_management = {
            "type": "host-local",
            "ranges": [[{"subnet": network.NODE_POD_CIDR, "gateway": network.NODE_IP}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(self.state_dir / "run" / "addresses"),
        }
        config = json.loads(json.dumps(_CNI))
        config["plugins"][0]["ipam"] = address_management
        self.containerd.cni_config.mkdir(exist_ok=True)
        (self.containerd.cni_config / "berth.conflist").write_text(json.dumps(config, indent=2))

    def _kubelet_command(self) -> list[str | Path]:
        plane = self.control_plane
        identity = plane.client_kubeconfig("kubelet", f"system:node:{NAME}", ("system:nodes",))
        config = self.state_dir / "kubelet.json"
        config.write_text(json.dumps(self._kubelet_config(), indent=2))
        return [
            binaries.path("kubelet"),
            f"--config={config}",
            f"--kubeconfig={identity}",
            f"--root-dir={self.state_dir / 'kubelet'}",
            f"--hostname-override={NAME}",
            f"--node-ip={network.NODE_IP}",
        ]

    def _kubelet_config(self) -> dict[str, Any]:
        authority = self.control_plane.authority
        addresses = (f"IP:{network.NODE_IP}", f"DNS:{NAME}")
        serving = authority.issue("kubelet-server", user=NAME, addresses=addresses)
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.NODE_IP,
            "authentication": {"x509": {"clientCAFile": str(authority.root.certificate)}},
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "containerRuntimeEndpoint": f"unix://{self.containerd.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroups.ROOT,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "clusterDNS": [dns.SERVICE_IP],
            "clusterDomain": dns.DOMAIN,
            "podLogsDir": str(self.state_dir / "logs"),
            "volumePluginDir": str(self.state_dir / "kubelet" / "volume-plugins"),
            "serializeImagePulls": False,
            # A disk whose size is larger than its quota looks full: judge by what is free, and
            # never delete images, which no registry could give back.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1Gi",
                "imagefs.available": "1Gi",
            },
        }

    def _proxy_command(self) -> list[str | Path]:
        identity = self.control_plane.client_kubeconfig("kube-proxy", "system:kube-proxy")
        config = self.state_dir / "kube-proxy.json"
        config.write_text(json.dumps(_proxy_config(identity), indent=2))
        return [binaries.path("kube-proxy"), f"--config={config}"]


def _proxy_config(identity: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(identity)},
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": NAME,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "iptables": {"localhostNodePorts": False},
        # Zero leaves the host's connection tracking limits as they are.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
