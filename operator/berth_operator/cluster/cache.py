"""What the operator knows of the cluster: pruned objects, by kind and by the model they serve.

Fed by the watches, by full lists and by the answers to the operator's own writes, in any order.
Objects are kept by uid, which never comes back, so that a late event about a deleted object and
an early one about its namesake cannot be mixed up.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.kinds import Kind
from berth_operator.core.drift import owned_by
from berth_operator.core.kubernetes import is_finished, requests
from berth_operator.core.observed import Children, Node, Object

# Uids of deleted objects that are remembered against late news of them. News is late by seconds;
# this many deletions take minutes even in the largest cluster that was measured.
_REMEMBERED_DELETIONS: Final = 4096
_DROPPED_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"


class ModelKey(NamedTuple):
    """Namespace and name of a ModelDeployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Cache:
    def __init__(self) -> None:
        self._objects: dict[Kind, dict[ModelKey, dict[str, Object]]] = {
            kind: {} for kind in kinds.WATCHED
        }
        self._keys: dict[Kind, dict[str, ModelKey]] = {kind: {} for kind in kinds.WATCHED}
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._written_status: dict[str, Any] = {}
        self._reserved: dict[str, dict[str, Decimal]] = {}  # by node, of the pods that are on it

    def upsert(self, kind: Kind, obj: Object) -> tuple[ModelKey, ...]:
        """Takes in an object; returns the models to look at, none if it brings nothing new."""
        uid = obj["metadata"]["uid"]
        old = self._get(kind, uid)
        if uid in self._deleted or (old is not None and not _newer(obj, old)):
            return ()
        new, key = _pruned(kind, obj), _key(kind, obj)
        moved = self._discard(kind, uid) if old is not None else ()
        self._objects[kind].setdefault(key, {})[uid] = new
        self._keys[kind][uid] = key
        self._reserve(kind, new, 1)
        if kind is kinds.NODE or (old is not None and self._is_own_echo(kind, old, new)):
            return ()
        return (key, *(one for one in moved if one != key))

    def remove(self, kind: Kind, uid: str) -> tuple[ModelKey, ...]:
        """Forgets a deleted object; returns the models to look at."""
        self._deleted[uid] = None
        while len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        self._written_status.pop(uid, None)
        keys = self._discard(kind, uid)
        return () if kind is kinds.NODE else keys

    def uids(self, kind: Kind) -> frozenset[str]:
        return frozenset(self._keys[kind])

    def writing_status(self, uid: str, status: Mapping[str, Any]) -> None:
        """Told before a status is written, so that the write's own event causes no look."""
        self._written_status[uid] = status

    def model(self, key: ModelKey) -> Object | None:
        """The youngest of that name: its predecessor may still be on its way out."""
        found = self._objects[kinds.MODEL].get(key, {}).values()
        return max(
            found, key=lambda obj: obj["metadata"].get("creationTimestamp", ""), default=None
        )

    def models(self) -> tuple[ModelKey, ...]:
        return tuple(self._objects[kinds.MODEL])

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
            _node(obj, self._reserved.get(obj["metadata"]["name"], {}))
            for found in self._objects[kinds.NODE].values()
            for obj in found.values()
        )

    def _reserve(self, kind: Kind, obj: Object, sign: int) -> None:
        """Counts a pod in, or out again, where it takes up a place."""
        node = obj.get("spec", {}).get("nodeName") if kind is kinds.POD else None
        if node is None or is_finished(obj):
            return
        taken = self._reserved.setdefault(node, {})
        for name, amount in requests(obj["spec"]).items():
            taken[name] = taken.get(name, Decimal(0)) + sign * amount
        if not any(taken.values()):
            del self._reserved[node]

    def _of(self, kind: Kind, key: ModelKey) -> Iterable[Object]:
        return self._objects[kind].get(key, {}).values()

    def _get(self, kind: Kind, uid: str) -> Object | None:
        key = self._keys[kind].get(uid)
        return None if key is None else self._objects[kind][key][uid]

    def _discard(self, kind: Kind, uid: str) -> tuple[ModelKey, ...]:
        key = self._keys[kind].pop(uid, None)
        if key is None:
            return ()
        found = self._objects[kind][key]
        self._reserve(kind, found.pop(uid), -1)
        if not found:
            del self._objects[kind][key]
        return (key,)

    def _is_own_echo(self, kind: Kind, old: Object, new: Object) -> bool:
        """Whether all that changed is the status, to what the operator wrote itself."""
        if kind is not kinds.MODEL or _without_status(old) != _without_status(new):
            return False
        ours = self._written_status.get(new["metadata"]["uid"], old.get("status"))
        return bool(new.get("status") == ours)


def _pruned(kind: Kind, obj: Object) -> Object:
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


def _newer(new: Object, old: Object) -> bool:
    """Resource versions of one kind are decimal numbers that grow (KEP-5504)."""
    return int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])


def _without_status(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    return {name: value for name, value in obj.items() if name != "status"} | {"metadata": metadata}


def _pruned_node(obj: Object) -> Object:
    status, metadata = obj.get("status", {}), obj["metadata"]
    kept = ("name", "uid", "resourceVersion", "labels")
    return {
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": obj.get("spec", {}),
        "status": {name: status[name] for name in ("allocatable", "nodeInfo") if name in status},
    }


def _node(obj: Object, reserved: Mapping[str, Decimal]) -> Node:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    info = status.get("nodeInfo", {})
    return Node(
        name=obj["metadata"]["name"],
        labels=obj["metadata"].get("labels", {}),
        allocatable=status.get("allocatable", {}),
        taints=tuple(spec.get("taints", ())),
        kubelet_version=info.get("kubeletVersion", ""),
        runtime_version=info.get("containerRuntimeVersion", ""),
        unschedulable=spec.get("unschedulable", False),
        reserved=dict(reserved),
    )
