"""Brings what a model owns to what was decided: few round trips, and nobody else's object is taken.

What one object builds on is written first, then what makes pods, then the others, side by side
each time: from a ModelDeployment to its pod it takes two waits for the API server instead of eight.
The others may be left for later where a model's first pods are made: what they set in motion would
be in those pods' way.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from berth_operator.cluster import kinds
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.cluster.store import Store
from berth_operator.core import drift
from berth_operator.core.observed import Object, Refusal
from berth_operator.errors import Conflict, Denied, NotFound

T = TypeVar("T")

# Nobody changes them, so they are created: an apply would have to look first whether it takes over
# someone else's. The others build on them: a pod mounts the Secret, a Deployment is rendered from
# its revision, and the Service is the memory of the Secret's having been written.
_FOUNDATIONS: Final = (kinds.SECRET, kinds.REVISION, kinds.JOB)
_MISSING: Final = "missing"


@dataclass(frozen=True)
class Brought:
    """What was written, "Deployment/name (missing)", and what was refused; as it was tried."""

    applied: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unfinished: bool = False  # the rest is the next call's


@dataclass(frozen=True)
class _Due:
    """An object to write, and why."""

    stamped: Json
    why: str

    @property
    def kind(self) -> Kind:
        return kinds.of(self.stamped)

    @property
    def told(self) -> str:
        return f"{'/'.join(identity(self.stamped))} ({self.why})"


@dataclass(frozen=True)
class Children:
    api: KubeApi
    store: Store[Any]

    async def bring(
        self,
        wanted: Sequence[Json],
        live: Iterable[Object],
        cr: Object,
        *,
        pods_first: bool = False,
    ) -> Brought:
        """Applies what is missing or differs. What the API server does not answer is raised.

        Unless every Secret was taken, nothing that remembers or mounts it is written.
        With `pods_first`, a call that begins to make pods leaves the rest for the next one.
        """
        known = {identity(obj): obj for obj in live}
        due = [one for desired in wanted if (one := _due(desired, known)) is not None]
        if not due:
            return Brought()
        base = [one for one in due if one.kind in _FOUNDATIONS]
        makers = [one for one in due if one.kind is kinds.DEPLOYMENT]
        rest = [one for one in due if one.kind not in (*_FOUNDATIONS, kinds.DEPLOYMENT)]
        done = await _side_by_side(
            *(_settled(one, self._made(one, cr)) for one in base),
            *(_settled(one, self._looked_at(one, cr)) for one in makers),
        )
        made, looked = done[: len(base)], done[len(base) :]
        if any(isinstance(one, Refusal) and one.kind == kinds.SECRET.kind for one in made):
            return _brought(made)
        free = [one for one in looked if isinstance(one, _Due)]
        running = await _side_by_side(*(_settled(one, self._applied(one)) for one in free))
        brought = _brought([*done, *running])
        begun = any(one.why == _MISSING for one in free) and not brought.refusals
        if pods_first and begun and rest:
            return replace(brought, unfinished=True)
        others = await _side_by_side(*(_settled(one, self._brought_up(one, cr)) for one in rest))
        return _brought([*done, *running, *others])

    async def _made(self, due: _Due, cr: Object) -> str | None:
        if await self._created(due):
            return due.told
        if due.kind is kinds.SECRET:
            await self._check_owners(due.stamped, cr)
            return await self._applied(due)
        return await self._brought_up(due, cr)

    async def _brought_up(self, due: _Due, cr: Object) -> str | None:
        there = await self._looked_at(due, cr)
        return None if there is None else await self._applied(there)

    async def _created(self, due: _Due) -> bool:
        """Whether there was none of that name, and now is this one."""
        try:
            written = await self.api.create(due.stamped)
        except Conflict:
            return False
        self._keep(due.kind, written)
        return True

    async def _check_owners(self, secret: Json, cr: Object) -> None:
        """Of one that may not be read."""
        metadata = secret["metadata"]
        owners = await self.api.owners(kinds.SECRET, metadata["namespace"], metadata["name"])
        if owners is not None and cr["metadata"]["uid"] not in {one["uid"] for one in owners}:
            raise _taken(secret)

    async def _looked_at(self, due: _Due, cr: Object) -> _Due | None:
        """Whether it is to be applied still, should the cache lag; Conflict if it is foreign."""
        if due.why != _MISSING:
            return due
        metadata = due.stamped["metadata"]
        try:
            found = await self.api.get(due.kind, metadata["namespace"], metadata["name"])
        except NotFound:
            return due
        if not drift.owned_by(found, cr["metadata"]["uid"]):
            raise _taken(due.stamped)
        why = drift.difference(due.stamped, found)
        return None if why is None else _Due(due.stamped, why)

    async def _applied(self, due: _Due) -> str:
        self._keep(due.kind, await self.api.apply(due.stamped))
        return due.told

    def _keep(self, kind: Kind, written: Json) -> None:
        if kind is not kinds.SECRET:
            self.store.upsert(kind, written)


def _due(desired: Json, known: dict[tuple[str, str], Object]) -> _Due | None:
    stamped = drift.stamp(desired)
    if kinds.of(desired) is kinds.SECRET:  # it cannot be read, and is wanted only when it is due
        return _Due(stamped, "asked for")
    there = known.get(identity(desired))
    why = _MISSING if there is None else drift.difference(stamped, there)
    return None if why is None else _Due(stamped, why)


async def _settled(due: _Due, work: Awaitable[T]) -> T | Refusal:
    try:
        return await work
    except (Denied, Conflict) as answer:
        return Refusal(*identity(due.stamped), message=str(answer))


async def _side_by_side(*calls: Awaitable[T]) -> list[T]:
    """Each to its end, then the first error: nothing is still being written after the look."""
    ended = await asyncio.gather(*calls, return_exceptions=True)
    for one in ended:
        if isinstance(one, BaseException):
            raise one
    return [one for one in ended if not isinstance(one, BaseException)]


def _brought(done: Sequence[str | Refusal | _Due | None]) -> Brought:
    return Brought(
        tuple(one for one in done if isinstance(one, str)),
        tuple(one for one in done if isinstance(one, Refusal)),
    )


def identity(obj: Object) -> tuple[str, str]:
    """Kind and name: a model's children share its namespace."""
    return obj["kind"], obj["metadata"]["name"]


def _taken(desired: Json) -> Conflict:
    kind, name = identity(desired)
    return Conflict(
        f"{kind} {desired['metadata']['namespace']}/{name} exists and belongs to something else; "
        "delete it, or give the ModelDeployment another name",
        reason="NameConflict",
    )
