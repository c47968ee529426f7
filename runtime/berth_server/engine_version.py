"""The version of the engine that this image really has: one with known holes is not started.

The operator has refused what an image's tag tells; a digest tells nothing, and a tag may mislead.
"""

from importlib import metadata
from typing import Final

from berth_api import engine_versions
from berth_api.server import EngineConfig
from berth_api.shape import Failure
from berth_server import reasons
from berth_server.errors import EngineFailed

_PACKAGE: Final = "vllm"
_FIX: Final = (
    f"use an image of vLLM {engine_versions.OLDEST} or newer, or have an administrator set "
    "allowUnsupported in the engine profile"
)


def check(engine: EngineConfig) -> None:
    """Raises EngineFailed for a version that is not run. An engine that is not vLLM passes."""
    try:
        installed = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return
    version = engine_versions.parse(installed)
    why = version and engine_versions.refusal(version)
    if why and not engine.allow_unsupported:
        raise EngineFailed(Failure(reason=reasons.ENGINE_VULNERABLE, message=why, fix=_FIX))
