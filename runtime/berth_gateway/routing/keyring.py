"""Who may call: API keys, kept as SHA-256 hashes only.

Keys are 256 random bits, so a slow password hash would add work and no safety.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

_SCHEME: Final = "bearer"


class Keyring:
    """Immutable. A look-up takes the same time whichever key is presented.

    Hashes are indexed under a secret `salt` of this process: how long the index takes to miss says
    nothing about how much of a hash was right, because nobody outside can compute its keys.
    """

    def __init__(self, hashes: Mapping[str, str], salt: bytes) -> None:
        """`hashes` are SHA-256 digests in hex by key id."""
        self._salt = salt
        digests = {key_id: bytes.fromhex(text) for key_id, text in hashes.items()}
        self._index = {self._blind(digest): (name, digest) for name, digest in digests.items()}

    def __len__(self) -> int:
        return len(self._index)

    def owner(self, authorization: str | None) -> str | None:
        """The id of the key in `Authorization: Bearer <key>`; None if there is none or no such."""
        scheme, _, presented = (authorization or "").partition(" ")
        if scheme.lower() != _SCHEME:
            return None
        digest = hashlib.sha256(presented.strip().encode()).digest()
        name, known = self._index.get(self._blind(digest), ("", b""))
        return name if hmac.compare_digest(digest, known) else None

    def _blind(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._salt).digest()


def hashed(plaintexts: Iterable[str]) -> dict[str, str]:
    """Hashes of plaintext keys, as the cluster's Secret would hold them, under numbered ids."""
    return {
        f"key-{number}": hashlib.sha256(key.encode()).hexdigest()
        for number, key in enumerate(plaintexts, start=1)
    }
