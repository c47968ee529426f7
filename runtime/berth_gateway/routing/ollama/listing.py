"""The models as Ollama's clients see them: tags, ps and show.

What Berth does not know it leaves out, or says in the word that Ollama itself has for unknown.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

from berth_gateway.routing.keep_alive import FOREVER
from berth_gateway.routing.snapshot import Model, Snapshot

# Whose shapes and words these are. Clients ask for the version to know what a server can.
VERSION: Final = "0.20.0"
LATEST: Final = ":latest"
FORMAT: Final = "safetensors"
_UNKNOWN_TIME: Final = "0001-01-01T00:00:00Z"  # Go's zero, which Ollama sends for none
# Ollama's own terminal cuts the first twelve characters and fails where there are none.
_UNKNOWN_DIGEST: Final = "0" * 64
_FOREVER: Final = timedelta(microseconds=2**63 // 1000)  # as long as Go can say


class Stay(NamedTuple):
    """How long a model stays loaded as things are. Seconds."""

    keep_alive: float  # FOREVER: always
    idle: float  # 0 while it works


def find(snapshot: Snapshot, name: str) -> Model | None:
    """By its name; `:latest` is what Ollama's clients add to one without a tag."""
    found = snapshot.find(name)
    if found is None and name.endswith(LATEST):
        return snapshot.find(name.removesuffix(LATEST))
    return found


def tag(snapshot: Snapshot, model: Model) -> str:
    """Ollama lists names with their tags, and its clients compare them so."""
    name = snapshot.public_name(model)
    return name if ":" in name.rpartition("/")[2] else name + LATEST


def tags(snapshot: Snapshot, models: Iterable[Model]) -> dict[str, Any]:
    return {"models": [_tagged(snapshot, one) for one in models]}


def running(
    snapshot: Snapshot, models: Iterable[tuple[Model, Stay]], now: datetime
) -> dict[str, Any]:
    """Those with a replica, the one that stays longest first."""
    told = [(_expires(stay, now), model) for model, stay in models if model.endpoints]
    told.sort(key=lambda one: one[0], reverse=True)
    return {"models": [_running(snapshot, model, expires) for expires, model in told]}


def shown(model: Model) -> dict[str, Any]:
    """What `ollama show` prints; `model_info` is never null, for clients fail on that."""
    return {
        "details": details(model),
        "model_info": _info(model),
        "capabilities": list(model.facts.capabilities),
        "modified_at": _created(model),
    }


def details(model: Model) -> dict[str, Any]:
    facts = model.facts
    return {
        "parent_model": model.home if model.adapter else "",
        "format": FORMAT if facts.commit else "",
        "family": facts.architecture,
        "families": [facts.architecture] if facts.architecture else None,
        "parameter_size": "",
        "quantization_level": facts.dtype,
    }


def rfc3339(moment: datetime) -> str:
    """In UTC, as Ollama writes it."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _tagged(snapshot: Snapshot, model: Model) -> dict[str, Any]:
    return _named(snapshot, model) | {
        "modified_at": _created(model),
        "size": model.facts.file_bytes,
        "capabilities": list(model.facts.capabilities),
    }


def _running(snapshot: Snapshot, model: Model, expires: datetime) -> dict[str, Any]:
    facts = model.facts
    size = facts.memory_bytes * len(model.endpoints)
    return _named(snapshot, model) | {
        "size": size,
        "size_vram": size if facts.on_gpu else 0,
        "expires_at": rfc3339(expires),
        "context_length": facts.context or 0,
    }


def _named(snapshot: Snapshot, model: Model) -> dict[str, Any]:
    name = tag(snapshot, model)
    digest = model.facts.commit or _UNKNOWN_DIGEST
    return {"name": name, "model": name, "digest": digest, "details": details(model)}


def _expires(stay: Stay, now: datetime) -> datetime:
    if stay.keep_alive == FOREVER:
        return now + _FOREVER
    return now + timedelta(seconds=max(stay.keep_alive - stay.idle, 0.0))


def _info(model: Model) -> dict[str, Any]:
    """GGUF's keys, of which clients look for the context's length."""
    facts = model.facts
    if not facts.architecture:
        return {}
    context = {f"{facts.architecture}.context_length": facts.context} if facts.context else {}
    return {"general.architecture": facts.architecture, **context}


def _created(model: Model) -> str:
    seconds = model.created_seconds
    if not seconds:
        return _UNKNOWN_TIME
    return rfc3339(datetime.fromtimestamp(seconds, timezone.utc))
