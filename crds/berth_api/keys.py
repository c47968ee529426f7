"""Keys between Berth's own parts: derived, so that operator and gateway agree without storing them.

The operator writes an engine's key into a Secret that the ModelDeployment owns; the gateway
computes the same key when it calls the engine. Neither has to read the other's Secret.
"""

import hashlib
import hmac
from typing import Final

_MODELS_API: Final = "models-api"  # no object's uid: those are UUIDs


def engine_key(master: bytes, uid: str) -> str:
    """The key that a model's engines accept: HMAC-SHA256 of the object's uid, 64 hex digits.

    `master` is the decoded value of MASTER_KEY_FIELD in the Secret SECRET_ENGINE_MASTER; `uid` is
    the ModelDeployment's metadata.uid, so an object made anew under an old name gets a new key.
    """
    return hmac.new(master, uid.encode(), hashlib.sha256).hexdigest()


def models_api_key(master: bytes) -> str:
    """The key with which gateways ask the operator's models API; `master` as in `engine_key`."""
    return engine_key(master, _MODELS_API)
