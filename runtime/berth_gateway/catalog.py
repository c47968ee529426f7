"""The models as clients see them: OpenAI's list, with Berth's own fields beside."""

from typing import Any, Final

from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.snapshot import Model, Snapshot

OWNER: Final = "berth"


def entry(snapshot: Snapshot, model: Model) -> dict[str, Any]:
    """OpenAI's model object, and: ready (a replica answers now), phase, aliases."""
    return {
        "id": snapshot.public_name(model),
        "object": "model",
        "created": model.created_seconds,
        "owned_by": OWNER,
        "ready": bool(model.endpoints),
        "phase": model.phase,
        "aliases": list(snapshot.other_names(model)),
    }


def listing(snapshot: Snapshot, key: ApiKey | None = None) -> dict[str, Any]:
    """Every model that the key is for; without a key, every model."""
    mine = (one for one in snapshot.models if key is None or key.admits(one, snapshot))
    return {"object": "list", "data": [entry(snapshot, model) for model in mine]}
