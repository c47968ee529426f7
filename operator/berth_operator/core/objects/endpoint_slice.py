"""The EndpointSlice of a pool's model: where its engine is, in the form in which all routes are.

Belongs to the ModelDeployment, so that it goes with it. Models that share an engine have a slice
each, and each tells what that engine calls the model.
"""

from typing import Any, Final

from berth_api import names
from berth_operator.core.drift import ANNOTATION_APPLIED
from berth_operator.core.observed import Object
from berth_operator.core.pools.pool import ResolvedPool
from berth_operator.core.resolved import Resolved, metadata

API_VERSION: Final = "discovery.k8s.io/v1"
# Kubernetes' own controllers leave slices alone that another one manages.
_LABEL_MANAGER: Final = "endpointslice.kubernetes.io/managed-by"


def build(
    resolved: Resolved, pool: ResolvedPool, engine: str, port: int, pods: tuple[Object, ...]
) -> dict[str, Any]:
    """`engine` is its id; `pods` have an address and are ready; without any, nothing is routed."""
    found = metadata(
        resolved,
        names.model_slice(resolved.name),
        annotations={
            names.ANNOTATION_SERVED_MODEL: engine,
            names.ANNOTATION_ENGINE_IDENTITY: names.pool_engine(pool.uid, engine),
        },
    )
    mine = {names.LABEL_POOL: pool.name, _LABEL_MANAGER: names.MANAGED_BY}
    return {
        "apiVersion": API_VERSION,
        "kind": "EndpointSlice",
        "metadata": found | {"labels": found["labels"] | mine},
        "addressType": _family(pods),
        "endpoints": [_endpoint(pod) for pod in pods],
        "ports": [{"name": names.PORT_NAME_ENGINE, "port": port, "protocol": "TCP"}],
    }


def _family(pods: tuple[Object, ...]) -> str:
    """One for the life of a slice; a cluster's pods have one family first."""
    return "IPv6" if any(":" in pod["status"]["podIP"] for pod in pods) else "IPv4"


def _endpoint(pod: Object) -> dict[str, Any]:
    meta = pod["metadata"]
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": {
            "kind": "Pod",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        },
    }


def emptied(live: Object) -> dict[str, Any]:
    """The same without endpoints: its model is in no engine now."""
    kept = {key: live["metadata"][key] for key in _KEPT if key in live["metadata"]}
    stamped = kept.get("annotations", {})
    kept["annotations"] = {key: stamped[key] for key in stamped if key != ANNOTATION_APPLIED}
    same = {key: live[key] for key in ("apiVersion", "kind", "addressType", "ports")}
    return same | {"metadata": kept, "endpoints": []}


_KEPT: Final = ("name", "namespace", "labels", "annotations", "ownerReferences")
