"""The Secret with a model's engine key, which its pods mount and the gateway derives."""

import base64
import hashlib
from typing import Any

from berth_api import names
from berth_api.keys import engine_key
from berth_operator.core.resolved import Resolved, metadata


def build(resolved: Resolved, master_key: bytes) -> dict[str, Any]:
    key = engine_key(master_key, resolved.uid)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(resolved, names.engine_key_secret(resolved.name)),
        "type": "Opaque",
        "data": {names.ENGINE_KEY_FIELD: base64.b64encode(key.encode()).decode()},
    }


def key_hash(resolved: Resolved, master_key: bytes) -> str:
    """Tells one key from another without telling the key."""
    return hashlib.sha256(engine_key(master_key, resolved.uid).encode()).hexdigest()[:16]
