"""CoreDNS, so that pods find Services by name as in any other cluster."""

import socket
from typing import Any

IMAGE = "localhost/coredns:1"
SERVICE_IP = "10.96.0.10"
DOMAIN = "cluster.local"

_CONNECT_SECONDS = 1.0
_PORT = 53
_READY_PORT = 8181
_LABELS = {"k8s-app": "kube-dns"}
_META = {"name": "coredns", "namespace": "kube-system"}
_COREFILE = f"""\
.:{_PORT} {{
    errors
    ready :{_READY_PORT}
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        ttl 5
    }}
    forward . /etc/resolv.conf
    cache 5
    reload
}}
"""

_READS = (
    {"apiGroups": [""], "resources": ["services", "namespaces"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
)

_CONTAINER: dict[str, Any] = {
    "name": "coredns",
    "image": IMAGE,
    "imagePullPolicy": "Never",
    "args": ["-conf", "/etc/coredns/Corefile"],
    "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    "readinessProbe": {"httpGet": {"path": "/ready", "port": _READY_PORT}, "periodSeconds": 1},
    "resources": {"requests": {"cpu": "10m", "memory": "30Mi"}},
}

OBJECTS: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _META},
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "coredns"},
        "rules": [{**what, "verbs": ["list", "watch"]} for what in _READS],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "coredns"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "coredns",
        },
        "subjects": [{"kind": "ServiceAccount", **_META}],
    },
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _META,
        "data": {"Corefile": _COREFILE},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _META,
        "spec": {
            "selector": {"matchLabels": _LABELS},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {
                    "serviceAccountName": "coredns",
                    "priorityClassName": "system-cluster-critical",
                    "dnsPolicy": "Default",  # the host's own servers answer for the rest
                    "containers": [_CONTAINER],
                    "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
                },
            },
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {
            "clusterIP": SERVICE_IP,
            "selector": _LABELS,
            "ports": [
                {"name": "dns", "port": _PORT, "protocol": "UDP"},
                {"name": "dns-tcp", "port": _PORT, "protocol": "TCP"},
            ],
        },
    },
)


def answers() -> bool:
    """Whether the Service takes connections, which needs kubelet, kube-proxy and CoreDNS.

    Objects in the API server cannot tell: after a restart they still say what was true before.
    """
    try:
        socket.create_connection((SERVICE_IP, _PORT), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
