"""What this gateway has in flight at each endpoint, and which endpoints failed lately.

The only state of the data path that outlives a request. Counters survive changes of the snapshot,
because they belong to a pod, not to a list.
"""

import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from itertools import count
from types import TracebackType

from berth_gateway.errors import Failure
from berth_gateway.routing import ejection
from berth_gateway.routing.ejection import Health
from berth_gateway.routing.pick import View
from berth_gateway.routing.snapshot import Endpoint


class Load:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.in_flight: dict[str, int] = {}  # requests by endpoint key; never holds a zero
        self._health: dict[str, Health] = {}  # only endpoints whose last try failed
        self._clock = clock
        self._turns = count()

    def view(self, failed: AbstractSet[str]) -> View:
        """For one choice; `failed` are the endpoint keys that this request will not try again."""
        ejected = self.ejected() if self._health else frozenset[str]()
        return View(self.in_flight, ejected, failed, next(self._turns))

    def ejected(self) -> frozenset[str]:
        now = self._clock()
        return frozenset(key for key, health in self._health.copy().items() if health.ejected(now))

    def at(self, endpoint: Endpoint) -> "InFlight":
        """Counts a request in flight for as long as the context lasts."""
        return InFlight(self.in_flight, endpoint.key)

    def failed(self, endpoint: Endpoint, failure: Failure) -> None:
        known = self._health.get(endpoint.key, Health())
        after = ejection.failed(known, failure, self._clock())
        if after != Health():
            self._health[endpoint.key] = after

    def answered(self, endpoint: Endpoint) -> None:
        if self._health:
            self._health.pop(endpoint.key, None)

    def forget_but(self, keys: Iterable[str]) -> None:
        """Drop the health of endpoints that are gone; a pod never comes back under its uid."""
        kept = frozenset(keys)
        self._health = {key: health for key, health in self._health.items() if key in kept}


class InFlight:
    """A plain class: contextlib's generator would double the cost of a request's bookkeeping."""

    __slots__ = ("_counts", "_key")

    def __init__(self, counts: dict[str, int], key: str) -> None:
        self._counts = counts
        self._key = key

    def __enter__(self) -> None:
        self._counts[self._key] = self._counts.get(self._key, 0) + 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        left = self._counts[self._key] - 1
        if left:
            self._counts[self._key] = left
        else:
            del self._counts[self._key]
