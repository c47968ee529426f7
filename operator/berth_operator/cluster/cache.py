"""What the operator knows of the cluster: pruned objects, by kind and by the model they serve.

Fed by the watches, by full lists and by the answers to the operator's own writes, in any order.
Objects are kept by uid, which never comes back, so that a late event about a deleted object and
an early one about its namesake cannot be mixed up.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.deletions import Deletions
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.packing import Packed, Packer
from berth_operator.core.drift import owned_by
from berth_operator.core.kubernetes import is_finished, requests
from berth_operator.core.node_health import telling
from berth_operator.core.observed import Children, Node, Object
from berth_operator.core.pools.pool import named_by

_DROPPED_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"


class ModelKey(NamedTuple):
    """Namespace and name of a ModelDeployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class _Kept(NamedTuple):
    version: int
    packed: Packed

    @property
    def object(self) -> Object:
        return self.packed.object


class Cache:
    # Of a pod it is read which place it takes up, of a model its pool, of a node its health.
    unread: Final = frozenset(
        {kinds.REVISION, kinds.DEPLOYMENT, kinds.SERVICE, kinds.BUDGET, kinds.JOB}
    )

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[ModelKey, dict[str, _Kept]]] = {
            kind: {} for kind in kinds.WATCHED
        }
        self._keys: dict[Kind, dict[str, ModelKey]] = {kind: {} for kind in kinds.WATCHED}
        self._packers = {kind: Packer() for kind in kinds.WATCHED}
        self._deleted = Deletions()
        self._written_status: dict[str, int] = {}  # by the model's uid, a hash
        self._reserved: dict[str, dict[str, Decimal]] = {}  # by node, of the pods that are on it
        self._models_on: dict[str, Counter[ModelKey]] = {}  # by node, how many pods of each
        self._pools: dict[ModelKey, str] = {}  # of models that name one
        self._nodes: dict[str, tuple[Node, ...]] = {}  # by name; absent: to be made anew

    def upsert(self, kind: Kind, obj: Object) -> tuple[ModelKey, ...]:
        """Takes in an object; returns the models to look at, none if it brings nothing new."""
        uid, version = obj["metadata"]["uid"], version_of(obj)
        kept = self._get(kind, uid)
        if uid in self._deleted or (kept is not None and version <= kept.version):
            return ()
        new, key = pruned(kind, obj), _key(kind, obj)
        # Only of these does it matter what has changed; the others are not unpacked for it.
        old = kept.object if kept is not None and kind in kinds.HANDLED else None
        moved = self._discard(kind, uid)
        self._objects[kind].setdefault(key, {})[uid] = _Kept(version, self._packers[kind].pack(new))
        self._keys[kind][uid] = key
        self._reserve(kind, new, 1)
        if kind is kinds.MODEL:
            self._join(key, new)
        if kind is kinds.NODE:
            self._nodes.pop(key.name, None)
            return () if _health(old) == _health(new) else self._on_node(key.name)
        if old is not None and self._is_own_echo(kind, old, new):
            return ()
        return (key, *(one for one in moved if one != key))

    def remove(self, kind: Kind, uid: str) -> tuple[ModelKey, ...]:
        """Forgets a deleted object; returns the models to look at."""
        self._deleted.add(uid)
        self._written_status.pop(uid, None)
        keys = self._discard(kind, uid)
        if kind is kinds.NODE:
            return tuple(one for key in keys for one in self._on_node(key.name))
        return keys

    def uids(self, kind: Kind, namespace: str | None = None) -> frozenset[str]:
        """Of the objects in one namespace, or in all."""
        known = self._keys[kind].items()
        return frozenset(uid for uid, key in known if namespace in (None, key.namespace))

    def writing_status(self, uid: str, status: Mapping[str, Any]) -> None:
        """Told before a status is written, so that the write's own event causes no look."""
        self._written_status[uid] = _hash(status)

    def model(self, key: ModelKey) -> Object | None:
        """The youngest of that name: its predecessor may still be on its way out."""
        return max(
            self._of(kinds.MODEL, key),
            key=lambda obj: str(obj["metadata"].get("creationTimestamp", "")),
            default=None,
        )

    def models(self) -> tuple[ModelKey, ...]:
        return tuple(self._objects[kinds.MODEL])

    def pool_of(self, key: ModelKey) -> str | None:
        """The ModelPool that its spec names, in its namespace."""
        return self._pools.get(key)

    def in_pool(self, namespace: str, pool: str) -> tuple[ModelKey, ...]:
        mine = (key for key, name in self._pools.items() if name == pool)
        return tuple(key for key in mine if key.namespace == namespace)

    def _join(self, key: ModelKey, model: Object) -> None:
        pool = named_by(model)
        if pool is None:
            self._pools.pop(key, None)
        else:
            self._pools[key] = pool

    def model_version(self, key: ModelKey) -> int:
        """Grows with every change of the model: it is told without reading the model."""
        found = self._objects[kinds.MODEL].get(key, {}).values()
        return max((kept.version for kept in found), default=0)

    def children(self, key: ModelKey, owner_uid: str) -> Children:
        def owned(kind: Kind) -> tuple[Object, ...]:
            return tuple(obj for obj in self._of(kind, key) if owned_by(obj, owner_uid))

        return Children(
            revisions=owned(kinds.REVISION),
            deployments=owned(kinds.DEPLOYMENT),
            services=owned(kinds.SERVICE),
            budgets=owned(kinds.BUDGET),
            jobs=owned(kinds.JOB),
        )

    def pods(self, key: ModelKey) -> tuple[Object, ...]:
        return tuple(self._of(kinds.POD, key))

    def nodes(self) -> tuple[Node, ...]:
        return tuple(
            node
            for key, found in self._objects[kinds.NODE].items()
            for node in self._nodes.get(key.name) or self._made_anew(key.name, found.values())
        )

    def _made_anew(self, name: str, found: Iterable[_Kept]) -> tuple[Node, ...]:
        reserved = self._reserved.get(name, {})
        made = self._nodes[name] = tuple(_node(kept.object, reserved) for kept in found)
        return made

    def _reserve(self, kind: Kind, obj: Object, sign: int) -> None:
        """Counts a pod in, or out again, where it takes up a place."""
        node = obj.get("spec", {}).get("nodeName") if kind is kinds.POD else None
        if node is None or is_finished(obj):
            return
        on_it = self._models_on.setdefault(node, Counter())
        on_it[_key(kind, obj)] += sign
        if not any(on_it.values()):
            del self._models_on[node]
        self.occupy(obj, sign)

    def occupy(self, pod: Object, sign: int) -> None:
        """The same for a pod of no one model: what it requests of its node counts all the same."""
        node = pod.get("spec", {}).get("nodeName")
        if node is None or is_finished(pod):
            return
        self._nodes.pop(node, None)
        taken = self._reserved.setdefault(node, {})
        for name, amount in requests(pod["spec"]).items():
            taken[name] = taken.get(name, Decimal(0)) + sign * amount
        if not any(taken.values()):
            del self._reserved[node]

    def _on_node(self, name: str) -> tuple[ModelKey, ...]:
        return tuple(+self._models_on.get(name, Counter()))

    def _of(self, kind: Kind, key: ModelKey) -> Iterable[Object]:
        return (kept.object for kept in self._objects[kind].get(key, {}).values())

    def _get(self, kind: Kind, uid: str) -> _Kept | None:
        key = self._keys[kind].get(uid)
        return None if key is None else self._objects[kind][key][uid]

    def _discard(self, kind: Kind, uid: str) -> tuple[ModelKey, ...]:
        key = self._keys[kind].pop(uid, None)
        if key is None:
            return ()
        found = self._objects[kind][key]
        kept = found.pop(uid)
        if kind is kinds.POD:
            self._reserve(kind, kept.object, -1)
        elif kind is kinds.NODE:
            self._nodes.pop(key.name, None)
        if not found:
            del self._objects[kind][key]
            if kind is kinds.MODEL:
                self._pools.pop(key, None)
        return (key,)

    def _is_own_echo(self, kind: Kind, old: Object, new: Object) -> bool:
        """Whether all that changed is the status, to what the operator wrote itself."""
        if kind is not kinds.MODEL or _without_status(old) != _without_status(new):
            return False
        ours = self._written_status.get(new["metadata"]["uid"])
        return _hash(new.get("status")) == (_hash(old.get("status")) if ours is None else ours)


def pruned(kind: Kind, obj: Object) -> Object:
    """Without the bulk that no decision reads: half of a pod, nine tenths of a node."""
    if kind is kinds.NODE:
        return _pruned_node(obj)
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    annotations = metadata.get("annotations", {})
    if _DROPPED_ANNOTATION in annotations:
        metadata["annotations"] = {
            name: value for name, value in annotations.items() if name != _DROPPED_ANNOTATION
        }
    return {**obj, "metadata": metadata}


def _key(kind: Kind, obj: Object) -> ModelKey:
    metadata = obj["metadata"]
    name = metadata["name"] if kind not in kinds.OWNED else metadata["labels"][names.LABEL_MODEL]
    return ModelKey(metadata.get("namespace", ""), name)


def version_of(obj: Object) -> int:
    """Resource versions of one kind are decimal numbers that grow (KEP-5504)."""
    return int(obj["metadata"]["resourceVersion"])


def _hash(status: Mapping[str, Any] | None) -> int:
    return hash(json.dumps(status, sort_keys=True))


def _without_status(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    return {name: value for name, value in obj.items() if name != "status"} | {"metadata": metadata}


def _pruned_node(obj: Object) -> Object:
    status, metadata = obj.get("status", {}), obj["metadata"]
    kept = ("name", "uid", "resourceVersion", "labels")
    return {
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": obj.get("spec", {}),
        "status": {name: status[name] for name in ("allocatable", "nodeInfo") if name in status}
        | {"conditions": telling(status.get("conditions") or ())},
    }


def _health(node: Object | None) -> tuple[Any, ...]:
    """What of a node its models must be looked at for; heartbeats change none of it."""
    if node is None:
        return [], []
    return node["spec"].get("taints", []), node["status"]["conditions"]


def _node(obj: Object, reserved: Mapping[str, Decimal]) -> Node:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    info = status.get("nodeInfo", {})
    return Node(
        name=obj["metadata"]["name"],
        labels=obj["metadata"].get("labels", {}),
        allocatable=status.get("allocatable", {}),
        taints=tuple(spec.get("taints", ())),
        conditions=tuple(status.get("conditions", ())),
        kubelet_version=info.get("kubeletVersion", ""),
        runtime_version=info.get("containerRuntimeVersion", ""),
        unschedulable=spec.get("unschedulable", False),
        reserved=dict(reserved),
    )
