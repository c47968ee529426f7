"""Which ModelDeployments are to be looked at, and when: the operator's only queue.

A key is in work at most once at a time, is never lost, and many reasons to look at it become one
look. What somebody waits for comes before what only has news to tell, which is late then and never
stuck. Knows nothing of Kubernetes; time and chance are arguments.
"""

import asyncio
import heapq
import logging
import math
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

from berth_operator.errors import ApiError, BerthError

log = logging.getLogger(__name__)

# First delay and cap of the exponential back-off after a failed look, in seconds: soon enough for
# a hiccup, rare enough for an API server that is down for minutes.
BACKOFF_BASE_SECONDS: Final = 0.5
BACKOFF_CAP_SECONDS: Final = 300.0
# Between two looks at one key. A start or a roll-out brings a dozen events within a moment, and
# most of what lies between its first and its last is not worth a look, or a status.
REST_SECONDS: Final = 0.1
# Of so many keys that are handed out, one at least is not urgent where both kinds wait.
_TURNS: Final = 4

K = TypeVar("K", bound=Hashable)
Process = Callable[[K], Awaitable[float | None]]
"""Looks at one key; returns the seconds until the next look without any event, or None."""


class WorkQueue(Generic[K]):
    """De-duplicates keys, delays them, and hands each to one worker at a time."""

    def __init__(
        self, *, clock: Callable[[], float], chance: random.Random, rest_seconds: float = 0.0
    ) -> None:
        self._clock = clock
        self._rest_seconds = rest_seconds
        self._chance = chance
        self._urgent: dict[K, float] = {}  # key -> since when; insertion order is the queue
        self._waiting: dict[K, float] = {}  # and of these
        self._hurried: set[K] = set()  # to be urgent when they are added next
        self._handed_out = 0
        self._in_work: dict[K, float] = {}
        self._again: set[K] = set()  # came back while in work
        self._resting: OrderedDict[K, float] = OrderedDict()  # until when; the oldest first
        self._due: dict[K, float] = {}  # delayed keys: one time each, the latest word counts
        self._timers: list[tuple[float, int, K]] = []
        self._serial = 0
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, key: K) -> None:
        """Look at `key` as soon as a worker is free, and it was not looked at just now."""
        if self._closed:
            return
        if key in self._in_work:
            self._again.add(key)
        elif key in self._resting:
            self._add_at(key, min(self._resting[key], self._due.get(key, math.inf)))
        elif key in self._hurried:
            self._urgent.setdefault(key, self._waiting.pop(key, self._clock()))
            self._changed.set()
        elif key not in self._waiting:
            self._waiting[key] = self._clock()
            self._changed.set()

    def add_all(self, keys: Iterable[K]) -> None:
        for key in keys:
            self.add(key)

    def hurry(self, keys: Iterable[K]) -> None:
        """Add them before all that nobody waits for."""
        for key in keys:
            self._hurried.add(key)
            self.add(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Look at `key` in `seconds`; replaces an earlier appointment for the same key."""
        self._add_at(key, self._clock() + seconds)

    def _add_at(self, key: K, due: float) -> None:
        if self._due.get(key) == due:
            return
        self._serial += 1
        self._due[key] = due
        heapq.heappush(self._timers, (due, self._serial, key))
        self._changed.set()

    def backoff(self, key: K) -> float:
        """Seconds to wait after one more failure: exponential, with full jitter."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(failures, 16))
        return self._chance.uniform(0, ceiling)

    def retry_failed(self) -> None:
        """Look at once at what waits after a failure: what all of it failed for is over."""
        self.add_all(tuple(self._failures))

    def forget(self, key: K) -> None:
        """The look succeeded: the next failure starts from the first delay again."""
        self._failures.pop(key, None)

    async def get(self) -> K | None:
        """The next key, from now on in work; None once the queue is closed."""
        while not self._closed:
            self._promote_due()
            for keys in self._turn():
                if keys:
                    return self._hand_out(keys)
            await self._wait()
        return None

    def _turn(self) -> tuple[dict[K, float], dict[K, float]]:
        """Both queues, the one whose turn it is first."""
        if (self._handed_out + 1) % _TURNS:
            return self._urgent, self._waiting
        return self._waiting, self._urgent

    def _hand_out(self, keys: dict[K, float]) -> K:
        key = next(iter(keys))
        del keys[key]
        self._hurried.discard(key)
        self._handed_out += 1
        self._in_work[key] = self._clock()
        return key

    def done(self, key: K, *, again_after: float | None = None) -> None:
        """Ends the work on `key`. Without `again_after` an earlier appointment is void.

        Who asks to go on at once has left something undone: that comes before mere news.
        """
        self._in_work.pop(key, None)
        self._due.pop(key, None)
        self._resting[key] = self._clock() + self._rest_seconds
        self._resting.move_to_end(key)
        if again_after == 0.0:
            self.hurry((key,))
        elif again_after is not None:
            self.add_after(key, again_after)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    async def run(self, process: Process[K], *, workers: int) -> None:
        """Work until `close`; a key in work then is finished first."""
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(process), name=f"worker {number}")

    def close(self) -> None:
        """No further key is handed out."""
        self._closed = True
        self._changed.set()

    @property
    def depth(self) -> int:
        return len(self._urgent) + len(self._waiting)

    def waiting_seconds(self) -> float:
        """How long the oldest key has waited for a worker."""
        return max(self._age(self._urgent), self._age(self._waiting))

    def working_seconds(self) -> float:
        """How long the longest look in progress has taken so far."""
        return self._age(self._in_work)

    def _age(self, since: dict[K, float]) -> float:
        return self._clock() - min(since.values()) if since else 0.0

    async def _work(self, process: Process[K]) -> None:
        while (key := await self.get()) is not None:
            self.done(key, again_after=await self._attempt(process, key))

    async def _attempt(self, process: Process[K], key: K) -> float | None:
        """One bad object must not stop the others: whatever goes wrong is logged and retried."""
        try:
            again_after = await process(key)
        except BerthError as error:
            seconds = max(self.backoff(key), _asked_for(error))
            log.warning("%s: %s; again in %.1f s", key, error, seconds)
            return seconds
        except Exception:
            seconds = self.backoff(key)
            log.exception("%s: unexpected; again in %.1f s", key, seconds)
            return seconds
        self.forget(key)
        return again_after

    def _promote_due(self) -> None:
        now = self._clock()
        while self._resting and next(iter(self._resting.values())) <= now:
            self._resting.popitem(last=False)
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    async def _wait(self) -> None:
        """Until something changed or the next appointment is due."""
        self._changed.clear()
        timeout = max(0.0, self._timers[0][0] - self._clock()) if self._timers else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return


def _asked_for(error: BerthError) -> float:
    """Seconds that the server asked to be left alone (Retry-After), or 0."""
    return (isinstance(error, ApiError) and error.retry_after_seconds) or 0.0
