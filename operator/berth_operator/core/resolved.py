"""A ModelDeployment that has been read once: what every builder and check takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from berth_api import names, source
from berth_api.model_deployment import ModelDeployment
from berth_api.spec import Spec
from berth_operator.core.digest import digest
from berth_operator.core.observed import Object

# Hex digits of a revision's or a source's hash: enough for the few of one model.
_HASH_DIGITS: Final = 10
_SOURCE_HASH_DIGITS: Final = 6

# Parts of the spec that shape a pod. Replicas, scaling, aliases, names, keys and what the gateway
# adds to requests (defaults) are none of it: changing them must not restart a model.
_RUNTIME_FIELDS: Final = (
    "runtime",
    "accelerators",
    "parallelism",
    "memory",
    "resources",
    "podTemplate",
    "adapters",
    "pool",
)
_MODEL_FIELDS: Final = ("source", "authSecretRef", "cache")
_ROLLOUT_FIELDS: Final = ("drainTimeoutSeconds",)


@dataclass(frozen=True)
class Resolved:
    """Name, identity and typed spec of one ModelDeployment."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: Spec
    source: source.Source

    @cached_property
    def _told(self) -> dict[str, Any]:
        """What the user set to anything but its default.

        `exclude_unset` changes none of it: it saves making the defaults to compare with.
        """
        return self.spec.model_dump(
            mode="json", by_alias=True, exclude_unset=True, exclude_defaults=True
        )

    @cached_property
    def spec_hash(self) -> str:
        """Of what shapes a pod.

        Fields at their default do not count, so that a later version's new fields change no hash.
        """
        spec = self._told
        parts = {field: spec[field] for field in _RUNTIME_FIELDS if spec.get(field)}
        parts["model"] = _pick(spec["model"], _MODEL_FIELDS)
        parts["rollout"] = _pick(spec.get("rollout", {}), _ROLLOUT_FIELDS)
        return digest(parts)[:_HASH_DIGITS]

    @cached_property
    def source_hash(self) -> str:
        """Of what the shape Job's answer may depend on."""
        spec = self._told
        parts = {
            "model": _pick(spec["model"], _MODEL_FIELDS[:2]),
            "podTemplate": spec.get("podTemplate", {}),
            "accelerators": spec.get("accelerators", []),  # whose nodes the Job runs on
        }
        return digest(parts)[:_SOURCE_HASH_DIGITS]


def resolve(cr: Object) -> Resolved:
    """The typed object; ValueError (pydantic's, or the source's) names what is wrong."""
    typed = ModelDeployment.model_validate(cr)
    meta = cr["metadata"]
    return Resolved(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        spec=typed.spec,
        source=source.parse(typed.spec.model.source),
    )


def labels(resolved: Resolved, role: str, revision: str | None = None) -> dict[str, str]:
    """Of a child; the gateway, the Services and the operator's watches select by them."""
    found = {
        names.LABEL_NAME: names.PART_OF,
        names.LABEL_INSTANCE: resolved.name,
        names.LABEL_COMPONENT: role,
        names.LABEL_PART_OF: names.PART_OF,
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_MODEL: resolved.name,
        names.LABEL_ROLE: role,
    }
    return found | ({names.LABEL_REVISION: revision} if revision else {})


def metadata(
    resolved: Resolved,
    name: str,
    *,
    role: str = names.ROLE_ENGINE,
    revision: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Of a child that Kubernetes deletes with its ModelDeployment; no finalizer is needed."""
    found: dict[str, Any] = {
        "name": name,
        "namespace": resolved.namespace,
        "labels": labels(resolved, role, revision),
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": resolved.name,
                "uid": resolved.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return found | ({"annotations": dict(annotations)} if annotations else {})


def _pick(given: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: given[field] for field in fields if field in given}
