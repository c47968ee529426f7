"""A ModelPool that has been read once: what every builder and rule of pools takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from berth_api import names
from berth_api.pool import ModelPool, PoolSpec
from berth_operator.core.digest import digest
from berth_operator.core.observed import Object

_HASH_DIGITS: Final = 10
# Parts of the spec that a model's plan depends on. How many pods there are is none of it, nor how
# they are drained: a change of these plans no model anew.
_PLANNED_BY: Final = ("accelerator", "runtime", "resources", "cache")


@dataclass(frozen=True)
class ResolvedPool:
    """Name, identity and typed spec of one ModelPool."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: PoolSpec

    @cached_property
    def plan_hash(self) -> str:
        """Of what the plans of its models depend on; fields at their default do not count."""
        spec = self.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return digest({name: spec.get(name) for name in _PLANNED_BY})[:_HASH_DIGITS]


def resolve(cr: Object) -> ResolvedPool:
    """The typed object; pydantic's ValueError names what is wrong."""
    meta = cr["metadata"]
    return ResolvedPool(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        spec=ModelPool.model_validate(cr).spec,
    )


def named_by(model: Object) -> str | None:
    """The pool of a ModelDeployment of any shape, for it may be stored so; None: none."""
    spec = model.get("spec")
    name = spec.get("pool") if isinstance(spec, Mapping) else None
    return name if isinstance(name, str) else None


def labels(pool: ResolvedPool, role: str = names.ROLE_POOL) -> dict[str, str]:
    """Of what the pool owns; the operator's watches and the NetworkPolicies select by them."""
    return {
        names.LABEL_NAME: names.PART_OF,
        names.LABEL_INSTANCE: pool.name,
        names.LABEL_COMPONENT: role,
        names.LABEL_PART_OF: names.PART_OF,
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_POOL: pool.name,
        names.LABEL_ROLE: role,
    }


def metadata(
    pool: ResolvedPool, name: str, *, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Of a child that Kubernetes deletes with its ModelPool; no finalizer is needed."""
    found: dict[str, Any] = {
        "name": name,
        "namespace": pool.namespace,
        "labels": labels(pool),
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND_POOL,
                "name": pool.name,
                "uid": pool.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return found | ({"annotations": dict(annotations)} if annotations else {})
