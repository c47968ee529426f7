"""Carries out an `Outcome`: the operator's only writer, and it decides nothing.

Executing the same outcome again writes nothing twice. What the API server refuses is kept for the
next look, word for word; what it does not answer ends the look.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache
from berth_operator.cluster.children import Children
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.learned import Memory
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.core.observed import Object, Observed, Refusal
from berth_operator.core.outcome import Deletion, Event, Outcome, Patch
from berth_operator.errors import Conflict, Denied, NotFound

Post = Callable[[Object, Event], None]
"""Posts an Event about a ModelDeployment; must not wait."""


@dataclass(frozen=True)
class Executed:
    """What was written, for the log, and what was refused, for the next look."""

    applied: tuple[str, ...] = ()  # "Deployment/name (missing)"
    deleted: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    status_written: bool = False
    outdated: bool = False  # something was not written: the decision knew too little
    unfinished: bool = False  # it ended with what makes pods; the rest is the next look's
    learned: bool = False
    patched: tuple[str, ...] = ()  # "Pod/name"


@dataclass(frozen=True)
class Executor:
    api: KubeApi
    cache: Cache
    post: Post
    memory: Memory | None = None  # None: what is learned is lost

    async def execute(self, observed: Observed, outcome: Outcome) -> Executed:
        """Keeps what was learned, patches, applies, deletes; then the status, the events.

        Where it begins to make a model's pods it ends with them: all else can wait, and they can't.
        While something is refused only pods are deleted: whatever else goes may be what the refused
        object was to replace, and would be made anew by the next look, for ever.
        A status that was decided without knowing what has just been refused is not written: the
        next look, which follows at once, tells better.
        """
        kept = await self.memory.keep(outcome.learn) if self.memory else False
        patched, missed, unpatched = await self._patch_all(observed.cr, outcome)
        children = Children(self.api, self.cache)
        brought = await children.bring(
            outcome.apply, observed.children.all(), observed.cr, pods_first=_is_new(observed)
        )
        refusals = (*unpatched, *brought.refusals)
        executed = Executed(
            applied=brought.applied,
            refusals=refusals,
            outdated=missed > 0,
            unfinished=brought.unfinished,
            learned=kept,
            patched=tuple(patched),
        )
        return executed if brought.unfinished else await self._finish(observed, outcome, executed)

    async def _finish(self, observed: Observed, outcome: Outcome, executed: Executed) -> Executed:
        refusals = executed.refusals
        free = [one for one in outcome.delete if not refusals or one.kind == kinds.POD.kind]
        deleted = await self._delete_all(observed.cr, free)
        written = _Write.OUTDATED
        if refused(refusals) <= refused(observed.refusals):
            written = await self._write_status(observed.cr, outcome.status)
            for event in outcome.events:
                self.post(observed.cr, event)
        return replace(
            executed,
            deleted=tuple(deleted),
            status_written=written is _Write.DONE,
            outdated=executed.outdated or written is _Write.OUTDATED,
        )

    async def _patch_all(
        self, cr: Object, outcome: Outcome
    ) -> tuple[list[str], int, list[Refusal]]:
        """What was patched, how many were not there any more, and what was refused."""
        done = [await self._patch(cr, one) for one in outcome.patch]
        patched = [one for one in done if isinstance(one, str)]
        return patched, done.count(None), [one for one in done if isinstance(one, Refusal)]

    async def _patch(self, cr: Object, one: Patch) -> str | Refusal | None:
        """None if that very object is gone: the next look tells what is there instead."""
        kind = kinds.named(one.api_version, one.kind)
        metadata = {**one.changes.get("metadata", {}), "uid": one.uid}
        change = {**one.changes, "metadata": metadata}
        try:
            written = await self.api.patch(kind, cr["metadata"]["namespace"], one.name, change)
        except (NotFound, Conflict):
            return None
        except Denied as answer:
            return Refusal(one.kind, one.name, message=str(answer))
        if kind in kinds.WATCHED:
            self.cache.upsert(kind, written)
        return f"{one.kind}/{one.name}"

    async def _delete_all(self, cr: Object, doomed: Iterable[Deletion]) -> list[str]:
        return [name for one in doomed if (name := await self._delete(cr, one))]

    async def _delete(self, cr: Object, one: Deletion) -> str | None:
        kind = kinds.named(one.api_version, one.kind)
        try:
            await self.api.delete(kind, cr["metadata"]["namespace"], one.name, uid=one.uid)
        except (NotFound, Conflict):
            return None  # that very object is gone, which was the wish
        return f"{one.kind}/{one.name}"

    async def _write_status(self, cr: Object, status: Json | None) -> "_Write":
        if status is None or status == cr.get("status"):
            return _Write.NEEDLESS
        self.cache.writing_status(cr["metadata"]["uid"], status)
        try:
            written = await self.api.apply_status(status_body(kinds.MODEL, cr, status))
        except (NotFound, Conflict):
            return _Write.OUTDATED
        self.cache.upsert(kinds.MODEL, written)
        return _Write.DONE


def _is_new(observed: Observed) -> bool:
    """Whether nothing was made of it yet; what somebody takes away again is no start."""
    return not observed.children.deployments and observed.remembered.key is None


class _Write(Enum):
    NEEDLESS = "needless"
    DONE = "done"
    OUTDATED = "outdated"


def refused(refusals: Iterable[Refusal]) -> frozenset[tuple[str, str]]:
    """Kinds and names; the words may differ from one answer to the next, and mean the same."""
    return frozenset((one.kind, one.name) for one in refusals)


def status_body(kind: Kind, cr: Object, status: Mapping[str, object]) -> Json:
    """With the resource version: what was decided about a spec must not be told of another one.

    A uid would not do: the API server ignores it in a status.
    """
    identity = {name: cr["metadata"][name] for name in ("namespace", "name", "resourceVersion")}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": identity,
        "status": status,
    }
