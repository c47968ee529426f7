"""Revisions: what a spec was resolved to, kept in a ControllerRevision and never rendered again.

The pod template is stored verbatim, so a newer Berth re-applies an old revision as it was; `auto`
values are those of the day the revision was made. Hence neither an upgrade of Berth nor a change
of nodes restarts a model.
"""

from dataclasses import dataclass
from typing import Any, Final

from berth_api import names
from berth_api.shape import ShapeReport
from berth_api.types import Plan
from berth_operator.core.digest import digest
from berth_operator.core.observed import Object
from berth_operator.core.resolved import Resolved, metadata

_HASH_DIGITS: Final = 10
# Of a plan, what people read and pods do not depend on.
_WORDS: Final = frozenset({"explain", "alternatives", "nearestFixes"})


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


def make(
    resolved: Resolved,
    plan: Plan,
    shape: ShapeReport,
    template: dict[str, Any],
    *,
    number: int,
    entry: int | None = None,
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
    )


def name_of(resolved: Resolved, plan: Plan) -> str:
    """The hash of the user's runtime spec, the resolved plan and the engine's image."""
    planned = {key: value for key, value in plan.wire().items() if key not in _WORDS}
    return digest([resolved.spec_hash, planned])[:_HASH_DIGITS]


def to_object(resolved: Resolved, revision: Revision) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(
            resolved,
            names.revision_name(resolved.name, revision.name),
            revision=revision.name,
        ),
        "revision": revision.number,
        "data": {
            "specHash": revision.spec_hash,
            "source": revision.source,
            "shape": revision.shape.model_dump(mode="json", exclude_none=True),
            "plan": revision.plan.wire(),
            "template": revision.template,
        }
        | ({} if revision.entry is None else {"entry": revision.entry}),
    }


def from_object(stored: Object) -> Revision:
    data = stored["data"]
    return Revision(
        name=stored["metadata"]["labels"][names.LABEL_REVISION],
        number=stored["revision"],
        spec_hash=data["specHash"],
        source=data["source"],
        shape=ShapeReport.model_validate(data["shape"]),
        plan=Plan.model_validate(data["plan"]),
        template=data["template"],
        entry=data.get("entry"),
    )
