"""The kinds of objects that the operator touches, and their REST paths.

A table instead of API discovery: discovery costs requests at every start, and an operator that
meets a kind which is not listed here has no RBAC rule for it either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from berth_api import names
from berth_operator.errors import BerthError


@dataclass(frozen=True)
class Kind:
    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """Empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The REST path of the collection, of one object, or of a part of it."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


MODEL: Final = Kind(names.API_VERSION, names.KIND, names.PLURAL)
POOL: Final = Kind(names.API_VERSION, names.KIND_POOL, names.PLURAL_POOL)
REVISION: Final = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
SERVICE: Final = Kind("v1", "Service", "services")
BUDGET: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
JOB: Final = Kind("batch/v1", "Job", "jobs")
POD: Final = Kind("v1", "Pod", "pods")
NODE: Final = Kind("v1", "Node", "nodes", namespaced=False)
SECRET: Final = Kind("v1", "Secret", "secrets")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
EVENT: Final = Kind("v1", "Event", "events")
SLICE: Final = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")

OWNED: Final = (REVISION, DEPLOYMENT, SERVICE, BUDGET, JOB, POD)
"""Watched by the label `names.LABEL_MODEL`, by reflectors. Secrets are owned too and never read."""

POOL_OWNED: Final = (REVISION, DEPLOYMENT, BUDGET, POD, SLICE)
"""Watched by the label `names.LABEL_POOL`, by reflectors of their own."""

HANDLED: Final = (MODEL, NODE)
"""What others write; watched by kopf, as POOL is."""

WATCHED: Final = (*HANDLED, *OWNED)


def handled(*, nodes: bool) -> tuple[Kind, ...]:
    """HANDLED, or of these what roles in namespaces allow."""
    return HANDLED if nodes else tuple(kind for kind in HANDLED if kind.namespaced)


_ALL: Final = {
    (kind.api_version, kind.kind): kind
    for kind in (*WATCHED, SLICE, POOL, SECRET, CONFIG_MAP, EVENT, LEASE)
}


def named(api_version: str, kind: str) -> Kind:
    found = _ALL.get((api_version, kind))
    if found is None:
        raise BerthError(f"the operator has no business with {api_version} {kind}")
    return found


def of(obj: Mapping[str, Any]) -> Kind:
    return named(obj["apiVersion"], obj["kind"])
