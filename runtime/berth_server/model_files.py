"""Where a model's files are, below the folder that the pod mounts.

A cache keeps several snapshots' layouts, and an image puts its files in a folder of its own.
"""

from pathlib import Path
from typing import Final

from berth_api.shape import Failure
from berth_server import reasons
from berth_server.errors import EngineFailed

CONFIG: Final = "config.json"
# <mount>/<organisation>/<model> is the deepest layout that anybody was seen to use.
_MAX_DEPTH: Final = 2


def find(top: Path) -> Path:
    """The folder that holds config.json: `top`, or the only one at most two levels below.

    Raises EngineFailed if there is none, or more than one.
    """
    for depth in range(_MAX_DEPTH + 1):
        found = sorted(path.parent for path in top.glob("*/" * depth + CONFIG))
        if len(found) == 1:
            return found[0]
        if found:
            raise _failed(f"several models are in {top}: {', '.join(map(str, found[:4]))}")
    raise _failed(f"no {CONFIG} is in {top} nor two levels below")


def _failed(message: str) -> EngineFailed:
    fix = "let spec.model.source name the folder of one model"
    return EngineFailed(Failure(reason=reasons.NOT_FOUND, message=message, fix=fix))
