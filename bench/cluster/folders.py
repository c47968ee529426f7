"""Claims on folders of the node that `make up` makes of this machine."""

from pathlib import Path
from typing import Any

from dev.installed import Berth

_SIZE = {"storage": "1Mi"}


def claim(berth: Berth, namespace: str, name: str, folder: Path) -> None:
    """A bound claim on the folder.

    A pod that meets an unbound one may wait for minutes: the scheduler looks again at the binding,
    and where it misses that, at its next round.
    """
    berth.apply(*_objects(namespace, name, folder))
    bound = "--for=jsonpath={.status.phase}=Bound"
    berth.kubectl("wait", f"pvc/{name}", "-n", namespace, bound, "--timeout=60s")


def _objects(namespace: str, name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A volume on the folder, and the claim that is bound to it."""
    common = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": _volume(namespace, name)},
        "spec": {
            **common,
            "capacity": _SIZE,
            "hostPath": {"path": str(folder), "type": "Directory"},
            "claimRef": {"name": name, "namespace": namespace},
        },
    }
    claimed = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            **common,
            "volumeName": _volume(namespace, name),
            "resources": {"requests": _SIZE},
        },
    }
    return volume, claimed


def release(berth: Berth, namespace: str, name: str) -> None:
    """Once no pod uses it any more, the claim and its volume go."""
    berth.wait_until(
        "the pods that use the disk are gone",
        lambda: not any(_uses(pod, name) for pod in berth.all("pods", namespace)),
        seconds=60,
    )
    berth.kubectl("delete", "pvc", name, "-n", namespace, "--wait")
    berth.kubectl("delete", "pv", _volume(namespace, name), "--wait")


def _uses(pod: dict[str, Any], claim: str) -> bool:
    volumes = pod["spec"].get("volumes", [])
    return any(v.get("persistentVolumeClaim", {}).get("claimName") == claim for v in volumes)


def _volume(namespace: str, name: str) -> str:
    return f"{namespace}-{name}"
