"""What a list or a watch fills: objects of some kinds, told apart by uid and grouped by a key."""

from collections.abc import Collection, Hashable
from typing import Protocol, TypeVar

from berth_operator.cluster.kinds import Kind
from berth_operator.core.observed import Object

K = TypeVar("K", bound=Hashable)
K_co = TypeVar("K_co", bound=Hashable, covariant=True)


class Store(Protocol[K_co]):
    @property
    def unread(self) -> Collection[Kind]:
        """Whose objects it keeps as they are: of a list, no more than metadata need be parsed."""
        ...

    def upsert(self, kind: Kind, obj: Object) -> tuple[K_co, ...]:
        """Takes in an object; returns the keys to look at, none if it brings nothing new."""
        ...

    def remove(self, kind: Kind, uid: str) -> tuple[K_co, ...]:
        """Forgets a deleted object; returns the keys to look at."""
        ...

    def uids(self, kind: Kind, namespace: str | None = None) -> frozenset[str]:
        """Of the objects in one namespace, or in all."""
        ...
