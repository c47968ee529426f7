"""What this gateway has in flight at each endpoint, and which endpoints failed lately.

The only state of the data path that outlives a request. Counters survive changes of the snapshot,
because they belong to a pod, not to a list.
"""

import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from itertools import count
from typing import Final

from berth_gateway.errors import Failure
from berth_gateway.routing import ejection
from berth_gateway.routing.ejection import Health
from berth_gateway.routing.pick import View
from berth_gateway.routing.snapshot import Endpoint

_NOBODY: Final = frozenset[str]()
_SOUND: Final = Health()


class Load:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.in_flight: dict[str, int] = {}  # requests by endpoint key; never holds a zero
        # Bytes of prompts whose answers have not begun, by endpoint key; never holds a zero.
        self.computing: dict[str, int] = {}
        self._health: dict[str, Health] = {}  # only endpoints whose last try failed
        self._probes: set[str] = set()  # of those, the ones that a request is trying again
        self._clock = clock
        self._turns = count()

    def enter(self, key: str) -> None:
        """A request goes to this endpoint; to one that was paused lately, as its probe."""
        self.in_flight[key] = self.in_flight.get(key, 0) + 1
        if self._health and key in self._health and self._health[key].pauses:
            self._probes.add(key)

    def leave(self, key: str) -> None:
        left = self.in_flight[key] - 1
        if left:
            self.in_flight[key] = left
        else:
            del self.in_flight[key]
        if self._probes:
            self._probes.discard(key)

    def compute(self, key: str, size: int) -> None:
        """A prompt of which `size` bytes are new to the endpoint has gone there."""
        self.computing[key] = self.computing.get(key, 0) + size

    def computed(self, key: str, size: int) -> None:
        """Its answer has begun, or it has been given up."""
        left = self.computing[key] - size
        if left:
            self.computing[key] = left
        else:
            del self.computing[key]

    def view(self, failed: AbstractSet[str], room: int | None = None) -> View:
        """For one choice; `failed` are the endpoint keys that this request will not try again."""
        turn, load = next(self._turns), self.in_flight
        if not self._health:
            return View(load, _NOBODY, _NOBODY, failed, room, turn, self.computing)
        ejected, paused = self.ejected(), self.paused()
        return View(load, ejected, paused, failed, room, turn, self.computing)

    def ejected(self) -> frozenset[str]:
        now = self._clock()
        return frozenset(key for key, health in self._health.copy().items() if health.ejected(now))

    def paused(self) -> AbstractSet[str]:
        """Also after its pause an endpoint gets one request at a time, until one has an answer."""
        now, known = self._clock(), self._health.copy().items()
        resting = (key for key, health in known if health.paused(now))
        return self._probes.union(resting)

    def reopens_at(self, endpoints: Iterable[Endpoint]) -> float | None:
        """When the first of these that is ejected or paused will not be, on the load's clock."""
        if not self._health:
            return None
        now = self._clock()
        healths = (self._health.get(one.key, _SOUND) for one in endpoints)
        ends = (end for one in healths for end in (one.ejected_until, one.paused_until))
        return min((end for end in ends if end > now), default=None)

    def failed(self, endpoint: Endpoint, failure: Failure, others: Iterable[Endpoint]) -> None:
        """`others` are all endpoints of the same model: the last sound one is never ejected."""
        ejected = self.ejected()
        last = all(one.key in ejected for one in others if one.key != endpoint.key)
        known = self._health.get(endpoint.key, _SOUND)
        after = ejection.failed(known, failure, self._clock(), last=last)
        if after != _SOUND:
            self._health[endpoint.key] = after

    def answered(self, endpoint: Endpoint) -> bool:
        """Whether it was anything but sound before."""
        if not self._health:
            return False
        self._probes.discard(endpoint.key)
        return self._health.pop(endpoint.key, None) is not None

    def forget_but(self, keys: Iterable[str]) -> None:
        """Drop the health of endpoints that are gone; a pod never comes back under its uid."""
        kept = frozenset(keys)
        self._health = {key: health for key, health in self._health.items() if key in kept}
        self._probes &= kept
