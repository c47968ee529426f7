"""Who may call, which models, and how often: API keys, kept as SHA-256 hashes only.

Keys are 256 random bits, so a slow password hash would add work and no safety.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from berth_gateway.routing.snapshot import Model, Snapshot

_SCHEME: Final = "bearer"
# Spellings of the Authorization header that are known by heart; clients of one key share one.
_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What the holder of one key may do."""

    name: str  # its id in the Secret
    sha256: str = field(repr=False)  # hex
    models: tuple[str, ...] | None = None  # any of a model's names; None: every model
    requests_per_minute: int | None = None  # over all gateways; None: no limit
    manages: bool = False  # may create, pull, copy and delete models

    def admits(self, model: Model, snapshot: Snapshot) -> bool:
        """A name in the list stands for the model that it leads to now, as in a request.

        So whoever gives his model a name from somebody's list, while another has it, gains nothing.
        """
        return self.models is None or any(snapshot.find(name) is model for name in self.models)

    def may_name(self, name: str) -> bool:
        """Whether it may give a model this name, which none has yet."""
        return self.models is None or name in self.models


class Keyring:
    """Its keys never change. How long a look-up takes says nothing about how near a guess was.

    Hashes are indexed under a secret `salt` of this process: how long the index takes to miss says
    nothing about how much of a hash was right, because nobody outside can compute its keys. Headers
    that led to a key are remembered in the same way, so that most requests take one hash; of those
    that led to none nothing is kept.
    """

    def __init__(self, keys: Iterable[ApiKey], salt: bytes) -> None:
        self._salt = salt
        known = ((bytes.fromhex(key.sha256), key) for key in keys)
        self._index = {self._blind(digest): (key, digest) for digest, key in known}
        self._remembered: dict[bytes, ApiKey] = {}  # by the blinded header

    def __len__(self) -> int:
        return len(self._index)

    def find(self, authorization: bytes) -> ApiKey | None:
        """The key in `Authorization: Bearer <key>`; None if there is none or no such."""
        blinded = self._blind(authorization)
        key = self._remembered.get(blinded)
        if key is None:
            key = self._search(authorization.decode("latin-1"))
            if key is not None and len(self._remembered) < _REMEMBERED:
                self._remembered[blinded] = key
        return key

    def _search(self, authorization: str) -> ApiKey | None:
        scheme, _, presented = authorization.partition(" ")
        if scheme.lower() != _SCHEME:
            return None
        digest = hashlib.sha256(presented.strip().encode()).digest()
        key, known = self._index.get(self._blind(digest), (None, b""))
        return key if hmac.compare_digest(digest, known) else None

    def _blind(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._salt).digest()
