"""The release's own Secrets: created if absent, never overwritten, never owned by the release.

They survive an uninstall on purpose (another install goes on with the same keys) and go only when
an administrator deletes them. Two operators may start at once: whoever creates first wins, and
the other reads.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.errors import ConfigurationError, Conflict, NotFound

KEY_BYTES: Final = 32  # 256 bits: HMAC-SHA-256's own strength, and beyond guessing
FIRST_KEY_ID: Final = "first"

RandomBytes = Callable[[int], bytes]


async def prepare(api: KubeApi, namespace: str, random_bytes: RandomBytes) -> bytes:
    """Makes sure of all three Secrets; returns the master key of the engine keys."""
    secrets = _Secrets(api, namespace)
    master = await secrets.get_or_create(
        names.SECRET_ENGINE_MASTER, {names.MASTER_KEY_FIELD: random_bytes(KEY_BYTES)}
    )
    await _first_api_key(secrets, random_bytes)
    return _master_key(master, namespace)


async def master_key(api: KubeApi, namespace: str) -> bytes:
    """Of a release whose leader has made it; NotFound until then."""
    found = await api.get(kinds.SECRET, namespace, names.SECRET_ENGINE_MASTER)
    return _master_key(_decoded(found), namespace)


def _master_key(master: Mapping[str, bytes], namespace: str) -> bytes:
    key = master.get(names.MASTER_KEY_FIELD, b"")
    if len(key) < KEY_BYTES:
        raise ConfigurationError(
            f"Secret {namespace}/{names.SECRET_ENGINE_MASTER}: {names.MASTER_KEY_FIELD} must hold "
            f"at least {KEY_BYTES} bytes; delete the Secret to have a new one made"
        )
    return key


async def _first_api_key(secrets: "_Secrets", random_bytes: RandomBytes) -> None:
    """The plain key first, then its hash: an operator killed in between goes on from the former.

    Once the hashes exist, a missing plain key means that the administrator has taken it.
    """
    if await secrets.exists(names.SECRET_API_KEYS):
        return
    text = base64.urlsafe_b64encode(random_bytes(KEY_BYTES)).rstrip(b"=")
    first = await secrets.get_or_create(
        names.SECRET_FIRST_API_KEY,
        {names.FIRST_API_KEY_FIELD: names.API_KEY_PREFIX.encode() + text},
    )
    digest = hashlib.sha256(first[names.FIRST_API_KEY_FIELD]).hexdigest()
    await secrets.get_or_create(names.SECRET_API_KEYS, {FIRST_KEY_ID: digest.encode()})


def _decoded(secret: Json) -> dict[str, bytes]:
    return {field: base64.b64decode(value) for field, value in secret.get("data", {}).items()}


class _Secrets:
    """Secrets of the release's namespace by name, decoded."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def exists(self, name: str) -> bool:
        return await self._find(name) is not None

    async def get_or_create(self, name: str, data: dict[str, bytes]) -> dict[str, bytes]:
        return _decoded(await self._find(name) or await self._create(name, data))

    async def _find(self, name: str) -> Json | None:
        try:
            return await self._api.get(kinds.SECRET, self._namespace, name)
        except NotFound:
            return None

    async def _create(self, name: str, data: dict[str, bytes]) -> Json:
        try:
            return await self._api.create(self._body(name, data))
        except Conflict:  # another operator was faster
            return await self._api.get(kinds.SECRET, self._namespace, name)

    def _body(self, name: str, data: dict[str, bytes]) -> Json:
        return {
            "apiVersion": kinds.SECRET.api_version,
            "kind": kinds.SECRET.kind,
            "metadata": {
                "name": name,
                "namespace": self._namespace,
                "labels": {
                    names.LABEL_PART_OF: names.PART_OF,
                    names.LABEL_MANAGED_BY: names.MANAGED_BY,
                },
            },
            "type": "Opaque",
            "data": {field: base64.b64encode(value).decode() for field, value in data.items()},
        }
