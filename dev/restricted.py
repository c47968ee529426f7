"""Pod Security Standard "restricted": namespaces that let in nothing else, and pods that pass."""

from typing import Any

ENFORCED = {"pod-security.kubernetes.io/enforce": "restricted"}

POD: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def namespace(name: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": dict(ENFORCED)}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
