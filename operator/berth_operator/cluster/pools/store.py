"""What the operator knows of pools: ModelPools, their pods and objects, their models' routes.

Beside the cache of models, for a pool is another key, and there are few: nothing is packed.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import pruned, version_of
from berth_operator.cluster.deletions import Deletions
from berth_operator.cluster.kinds import Kind
from berth_operator.core.observed import Object

STORED: Final = (kinds.POOL, *kinds.POOL_OWNED)

Occupy = Callable[[Object, int], None]
"""Told of a pod that is there (1) or is no more (-1): it takes up a place on its node."""


class PoolKey(NamedTuple):
    """Namespace and name of a ModelPool."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"pool {self.namespace}/{self.name}"


class PoolStore:
    unread: Final = frozenset[Kind]()

    def __init__(self, occupy: Occupy) -> None:
        self._objects: dict[Kind, dict[str, Object]] = {kind: {} for kind in STORED}
        self._deleted = Deletions()
        self._occupy = occupy

    def upsert(self, kind: Kind, obj: Object) -> tuple[PoolKey, ...]:
        uid = obj["metadata"]["uid"]
        known = self._objects[kind].get(uid)
        if uid in self._deleted or (known is not None and version_of(obj) <= version_of(known)):
            return ()
        found = pruned(kind, obj)
        self._objects[kind][uid] = found
        self._placed(kind, known, -1)
        self._placed(kind, found, 1)
        return (_key(kind, obj),)

    def remove(self, kind: Kind, uid: str) -> tuple[PoolKey, ...]:
        self._deleted.add(uid)
        gone = self._objects[kind].pop(uid, None)
        self._placed(kind, gone, -1)
        return () if gone is None else (_key(kind, gone),)

    def uids(self, kind: Kind, namespace: str | None = None) -> frozenset[str]:
        return frozenset(
            uid
            for uid, one in self._objects[kind].items()
            if namespace in (None, one["metadata"].get("namespace"))
        )

    def pools(self) -> tuple[PoolKey, ...]:
        return tuple(_key(kinds.POOL, one) for one in self._objects[kinds.POOL].values())

    def pool(self, key: PoolKey) -> Object | None:
        """The youngest of that name: its predecessor may still be on its way out."""
        return max(
            self._of(kinds.POOL, key),
            key=lambda one: str(one["metadata"].get("creationTimestamp", "")),
            default=None,
        )

    def of(self, kind: Kind, key: PoolKey) -> tuple[Object, ...]:
        return tuple(self._of(kind, key))

    def _of(self, kind: Kind, key: PoolKey) -> Iterator[Object]:
        return (one for one in self._objects[kind].values() if _key(kind, one) == key)

    def _placed(self, kind: Kind, pod: Object | None, sign: int) -> None:
        if kind is kinds.POD and pod is not None:
            self._occupy(pod, sign)


def _key(kind: Kind, obj: Object) -> PoolKey:
    metadata = obj["metadata"]
    name = metadata["name"] if kind is kinds.POOL else metadata["labels"][names.LABEL_POOL]
    return PoolKey(metadata["namespace"], name)
