"""What the data path reads of the world: the latest snapshot and the keys, replaced as a whole.

Written by one source (files or the cluster) and read from two threads (data path, management):
each attribute is one reference to an immutable value, so a reader never sees half a change.
"""

import secrets
from collections.abc import Iterable

from berth_gateway.routing.keyring import ApiKey, Keyring
from berth_gateway.routing.pools import Pool
from berth_gateway.routing.snapshot import Snapshot
from berth_gateway.state.meters import Meters
from berth_gateway.state.queues import Queues

_SALT_BYTES = 32


class Board:
    def __init__(self, queues: Queues, meters: Meters) -> None:
        self.snapshot = Snapshot()
        self.keyring = Keyring((), b"")
        self.models_key: str | None = None  # for the operator's models API; None: not known
        self.pools: tuple[Pool, ...] = ()  # for people
        self.synced = False  # the source has been read once, so the snapshot means something
        self.queues = queues
        self._meters = meters
        self._salt = secrets.token_bytes(_SALT_BYTES)

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.queues.publish(snapshot)

    def publish_pools(self, pools: tuple[Pool, ...]) -> None:
        """Replace every one."""
        self.pools = pools

    def admit_keys(self, keys: Iterable[ApiKey]) -> None:
        """Replace every API key."""
        keys = tuple(keys)
        self.keyring = Keyring(keys, self._salt)
        self._meters.keep_only(keys)
