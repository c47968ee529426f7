"""How much of its rate each API key has used at this gateway."""

import time
from collections.abc import Callable, Iterable

from berth_gateway.routing import rates
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.rates import Bucket, Verdict


class Meters:
    """Buckets by key id: a reload of the keys leaves them as they are."""

    def __init__(self, gateways: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        """`gateways` share every limit between them."""
        self._gateways = gateways
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def spend(self, key: ApiKey) -> Verdict | None:
        """One request of this key; None where it has no limit."""
        if key.requests_per_minute is None:
            return None
        rate = rates.share(key.requests_per_minute, self._gateways)
        bucket, verdict = rates.spend(self._buckets.get(key.name), rate, self._clock())
        self._buckets[key.name] = bucket
        return verdict

    def look(self, key: ApiKey) -> Verdict | None:
        """How it stands, without a request."""
        if key.requests_per_minute is None:
            return None
        rate = rates.share(key.requests_per_minute, self._gateways)
        return rates.look(self._buckets.get(key.name), rate, self._clock())

    def keep_only(self, keys: Iterable[ApiKey]) -> None:
        """Forget keys that are gone, once their buckets are full: one that returns has its own."""
        names, emptied = {key.name for key in keys}, self._clock() - rates.FILL_SECONDS
        kept = self._buckets.items()
        self._buckets = {name: one for name, one in kept if name in names or one.at > emptied}
