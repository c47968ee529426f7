"""What a model of a pool was resolved to: an engine instead of a pod, kept in a ControllerRevision.

As with a dedicated model, `auto` is resolved once and the plan is kept: neither an upgrade of Berth
nor a change of nodes loads an engine anew. The engine's identity is a hash of all that makes one
engine differ from another, and nothing that only names it: models that differ in their name, prompt
or keep-alive share one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pydantic import ValidationError

from berth_api import names
from berth_api.server import EngineConfig
from berth_api.shape import ShapeReport
from berth_api.status import Plan
from berth_operator.core.digest import digest
from berth_operator.core.observed import Object
from berth_operator.core.resolved import Resolved
from berth_operator.core.revision import Revision, name_of, object_of

# Hex digits: enough for the revisions of one model, and for the engines of one pool.
_HASH_DIGITS: Final = 10
ID_DIGITS: Final = 12
# Beside a revision's own fields, where its pod template would be.
_POOLED: Final = "pooled"
# The pod of a pool says these when it gives the engine its place.
_PLACE: Final = {"name": "", "port": 0}


@dataclass(frozen=True, kw_only=True)
class PooledRevision(Revision):
    """Bytes are of each of the engine's cards; on CPU of the pod's memory."""

    pool: str
    pool_hash: str  # of what the plan depends on
    engine: EngineConfig  # without name and port
    files: str  # the hash that names their fetch Job; empty: there is nothing to fetch

    @cached_property
    def id(self) -> str:
        """The engine's identity in its pool."""
        config = self.engine.model_dump(mode="json", exclude_defaults=True)
        parts = [self.source, self.shape.commit, self.plan.image, config, self.cards]
        return digest([*parts, self.card_bytes])[:ID_DIGITS]

    @property
    def on_cpu(self) -> bool:
        return self.plan.gpus_per_replica == 0

    @property
    def cards(self) -> int:
        """That it takes; a pod on CPU counts as one."""
        return max(1, self.plan.gpus_per_replica)

    @property
    def card_bytes(self) -> int:
        ranks = self.plan.tensor_parallel_size if self.on_cpu else 1
        return self.plan.usable_bytes * ranks


def make(
    resolved: Resolved,
    plan: Plan,
    shape: ShapeReport,
    *,
    number: int,
    pool: str,
    pool_hash: str,
    engine: EngineConfig,
    files: str,
) -> PooledRevision:
    return PooledRevision(
        # The plan of a pool that has changed may be the same, and its files elsewhere.
        name=digest([name_of(resolved, plan), pool_hash])[:_HASH_DIGITS],
        number=number,
        spec_hash=resolved.spec_hash,
        source=resolved.spec.model.source,
        shape=shape,
        plan=plan,
        template={},
        pool=pool,
        pool_hash=pool_hash,
        engine=engine.model_copy(update=_PLACE),
        files=files,
    )


def to_object(resolved: Resolved, revision: PooledRevision) -> dict[str, Any]:
    pooled = {
        "pool": revision.pool,
        "poolHash": revision.pool_hash,
        "engine": revision.engine.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "files": revision.files,
    }
    return object_of(resolved, revision, {_POOLED: pooled})


def is_pooled(stored: Object) -> bool:
    data = stored.get("data")
    return isinstance(data, dict) and _POOLED in data


def readable(stored: Iterable[Object]) -> list[PooledRevision]:
    """Those of pools, the newest last; what cannot be read is as if it were not there."""
    found = (_from_object(one) for one in stored if is_pooled(one))
    return sorted((one for one in found if one is not None), key=lambda one: one.number)


def _from_object(stored: Object) -> PooledRevision | None:
    try:
        data = stored["data"]
        pooled = data[_POOLED]
        return PooledRevision(
            name=stored["metadata"]["labels"][names.LABEL_REVISION],
            number=stored["revision"],
            spec_hash=data["specHash"],
            source=data["source"],
            shape=ShapeReport.model_validate(data["shape"]),
            plan=Plan.model_validate(data["plan"]),
            template={},
            pool=pooled["pool"],
            pool_hash=pooled["poolHash"],
            engine=EngineConfig.model_validate(_PLACE | pooled["engine"]),
            files=pooled["files"],
        )
    except (AttributeError, KeyError, TypeError, ValidationError):
        return None
