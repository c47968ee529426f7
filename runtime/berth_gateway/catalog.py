"""The models as clients see them: OpenAI's list, with Berth's own fields beside."""

from collections.abc import Iterable
from typing import Any, Final

from berth_gateway.routing.snapshot import Model, Snapshot

OWNER: Final = "berth"


def entry(snapshot: Snapshot, model: Model) -> dict[str, Any]:
    """OpenAI's model object, and: ready (a replica answers now), phase, aliases.

    An adapter's has a parent too, as the engine's own.
    """
    return {
        "id": snapshot.public_name(model),
        "object": "model",
        "created": model.created_seconds,
        "owned_by": OWNER,
        "ready": bool(model.endpoints),
        "phase": model.phase,
        "aliases": list(snapshot.other_names(model)),
        **({"parent": snapshot.public_name(snapshot.index[model.home])} if model.adapter else {}),
    }


def listing(snapshot: Snapshot, models: Iterable[Model]) -> dict[str, Any]:
    """Those of the snapshot's models that the client may see."""
    return {"object": "list", "data": [entry(snapshot, model) for model in models]}
