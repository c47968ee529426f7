"""How far a model is on its way to being served, in the words of Ollama's `/api/pull`.

Pulled is a model whose plan stands: its files were found, may be had and fit the cluster. The
weights come with the first replica, or lie on the claim; a pod that fetches them is followed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from berth_api.server import Phase
from berth_api.status import ConditionType

Object = Mapping[str, Any]
Line = dict[str, Any]

SUCCESS: Final[Line] = {"status": "success"}
_READING: Final[Line] = {"status": "pulling manifest"}
_PERCENT: Final = 100


@dataclass(frozen=True)
class UnderWay:
    line: Line


@dataclass(frozen=True)
class Done:
    pass


@dataclass(frozen=True)
class Failed:
    reason: str


def progress(model: Object) -> UnderWay | Done | Failed:
    planned = _planned(model)
    if planned.get("status") == "False":
        return Failed(planned["message"])
    if planned.get("status") != "True":
        return UnderWay(_READING)
    status = model["status"]
    if status.get("phase") != Phase.FETCHING.value:
        return Done()
    return UnderWay(_fetching(status))


def _planned(model: Object) -> Mapping[str, Any]:
    """The condition, where it speaks of the spec as it is now."""
    generation = model["metadata"].get("generation")
    for one in model.get("status", {}).get("conditions", ()):
        if one["type"] == ConditionType.PLANNED.value:
            return one if one.get("observedGeneration") == generation else {}
    return {}


def _fetching(status: Mapping[str, Any]) -> Line:
    """With a bar where it is known how much there is; Ollama's terminal names it by the digest."""
    known = status.get("model", {})
    commit, total = known.get("commit"), known.get("fileBytes")
    if not (commit and total):
        return {"status": "pulling weights"}
    percent = status.get("load", {}).get("percent") or 0
    completed = total * percent // _PERCENT
    return {
        "status": f"pulling {commit[:_SHORT]}",
        "digest": commit,
        "total": total,
        "completed": completed,
    }


_SHORT: Final = 12  # characters of a digest, as Ollama shows them
