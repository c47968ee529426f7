"""Revisions: what a spec was resolved to, kept in a ControllerRevision and never rendered again.

The pod template is stored verbatim, so a newer Berth re-applies an old revision as it was; `auto`
values are those of the day the revision was made. Hence neither an upgrade of Berth nor a change
of nodes restarts a model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from berth_api import names
from berth_api.adapters import AdapterReport
from berth_api.shape import Failure, ShapeReport
from berth_api.status import Plan
from berth_operator.core.digest import digest
from berth_operator.core.observed import Object
from berth_operator.core.resolved import Resolved, metadata

_HASH_DIGITS: Final = 10
# Of a plan, what people read and pods do not depend on.
_WORDS: Final = frozenset({"explain", "alternatives", "nearestFixes"})
# Of a plan, what only people read and a stored one may lack. All else that a Plan must have is
# compared with later: none of it is guessed.
_MAY_LACK: Final = {"kvBytesPerToken": 0, "kvCacheTokens": 0}


@dataclass(frozen=True)
class Revision:
    """One stored resolution of a spec. `number` counts up; the highest is the newest."""

    name: str  # the hash: the value of the revision label
    number: int
    spec_hash: str
    source: str
    shape: ShapeReport
    plan: Plan
    template: dict[str, Any]
    entry: int | None = None  # of spec.accelerators, that it was planned on
    adapters: Mapping[str, AdapterReport] = field(default_factory=dict)  # by name


def make(
    resolved: Resolved,
    plan: Plan,
    shape: ShapeReport,
    template: dict[str, Any],
    *,
    number: int,
    entry: int | None = None,
    adapters: Mapping[str, AdapterReport] | None = None,
) -> Revision:
    """`template` has no revision label yet: its name depends on everything else."""
    return Revision(
        name=name_of(resolved, plan),
        number=number,
        spec_hash=resolved.spec_hash,
        source=resolved.spec.model.source,
        shape=shape,
        plan=plan,
        template=template,
        entry=entry,
        adapters=dict(adapters or {}),
    )


def name_of(resolved: Resolved, plan: Plan) -> str:
    """The hash of the user's runtime spec, the resolved plan and the engine's image."""
    planned = {key: value for key, value in plan.wire().items() if key not in _WORDS}
    return digest([resolved.spec_hash, planned])[:_HASH_DIGITS]


def to_object(resolved: Resolved, revision: Revision) -> dict[str, Any]:
    own = {
        "template": revision.template,
        "entry": revision.entry,
        "adapters": _plain(revision.adapters) or None,
    }
    return object_of(
        resolved, revision, {name: value for name, value in own.items() if value is not None}
    )


def object_of(resolved: Resolved, revision: Revision, own: Mapping[str, Any]) -> dict[str, Any]:
    """The ControllerRevision; `own` is the data that only its kind of revision has."""
    name = names.revision_name(resolved.name, revision.name)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(resolved, name, revision=revision.name),
        "revision": revision.number,
        "data": {
            "specHash": revision.spec_hash,
            "source": revision.source,
            "shape": revision.shape.model_dump(mode="json", exclude_none=True),
            "plan": revision.plan.wire(),
            **own,
        },
    }


def from_object(stored: Object) -> Revision | None:
    """None for one that cannot be read: of an older Berth, or edited by hand."""
    try:
        data = stored["data"]
        return Revision(
            name=stored["metadata"]["labels"][names.LABEL_REVISION],
            number=stored["revision"],
            spec_hash=data["specHash"],
            source=data["source"],
            shape=ShapeReport.model_validate(data["shape"]),
            plan=Plan.model_validate(_MAY_LACK | data["plan"]),
            template=_template(data["template"]),
            entry=data.get("entry"),
            adapters={
                name: AdapterReport.model_validate(one)
                for name, one in data.get("adapters", {}).items()
            },
        )
    except (AttributeError, KeyError, TypeError, ValidationError):
        return None


def _plain(adapters: Mapping[str, AdapterReport]) -> dict[str, Any]:
    return {name: one.model_dump(mode="json") for name, one in adapters.items()}


def _template(stored: Any) -> dict[str, Any]:
    """As it is; TypeError if no pod can be made of it."""
    if not isinstance(stored["spec"], dict):
        raise TypeError
    found: dict[str, Any] = stored
    return found


def readable(stored: Iterable[Object]) -> list[Revision]:
    found = (from_object(one) for one in stored)
    return [one for one in found if one is not None]


def unreadable(stored: Iterable[Object]) -> list[Object]:
    return [one for one in stored if from_object(one) is None]


def lost(stored: Sequence[Object], spec_hash: str) -> Failure | None:
    """Why a spec is not planned: its newest plan is there, and cannot be read.

    Planned anew it might get the same name, and would be stored as little as before. One that does
    not even tell its spec may be of this.
    """
    known = [one.number for one in readable(stored) if one.spec_hash == spec_hash]
    newest = max(known, default=0)
    for one in unreadable(stored):
        if spec_hash_of(one) in (spec_hash, None) and number_of(one) > newest:
            name = one["metadata"]["name"]
            return Failure(
                reason="RevisionUnreadable",
                message=f"ControllerRevision {name} is of another version of Berth, or was edited; "
                "what runs is left as it is",
                fix=f"delete ControllerRevision {name}: the model is planned anew",
            )
    return None


def spec_hash_of(stored: Object) -> str | None:
    """Of one that may be unreadable; None if not even that is there."""
    data = stored.get("data")
    found = data.get("specHash") if isinstance(data, dict) else None
    return found if isinstance(found, str) else None


def number_of(stored: Object) -> int:
    """Of one that may be unreadable. Kubernetes holds `revision` to be a whole number."""
    number: int = stored.get("revision", 1)
    return number
