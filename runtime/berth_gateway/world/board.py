"""What the data path reads of the world: the latest snapshot and the keys, replaced as a whole.

Written by one source (files or the cluster) and read from two threads (data path, management):
each attribute is one reference to an immutable value, so a reader never sees half a change.
"""

import secrets
from collections.abc import Mapping

from berth_gateway.routing.keyring import Keyring
from berth_gateway.routing.snapshot import Snapshot
from berth_gateway.world.load import Load

_SALT_BYTES = 32


class Board:
    def __init__(self, load: Load) -> None:
        self.snapshot = Snapshot()
        self.keyring = Keyring({}, b"")
        self.synced = False  # the source has been read once, so the snapshot means something
        self._load = load
        self._salt = secrets.token_bytes(_SALT_BYTES)

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._load.forget_but({end.key for model in snapshot.models for end in model.endpoints})

    def admit_keys(self, hashes: Mapping[str, str]) -> None:
        """Replace every API key: SHA-256 in hex by key id."""
        self.keyring = Keyring(hashes, self._salt)
