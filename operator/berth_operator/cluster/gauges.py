"""What the engines themselves say they run: requests that came to them by no gateway included.

Asked from time to time, beside the looks and never in one: a pod that does not answer must not
delay a decision about those that wait. Only models whose replicas may become fewer are asked for.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from berth_api.server import PodStatus
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.pod_status import PodReader, status
from berth_operator.core.kubernetes import is_ready
from berth_operator.core.observed import Object

ASK_SECONDS: Final = 10.0
_SPREAD: Final = 0.2  # of the period, so that several operators do not ask together
# Older than this nothing is taken away for it: two answers in a row have not come.
FRESH_SECONDS: Final = 25.0
ASKED_AT_ONCE: Final = 64  # pods; each takes up to pod_status.TIMEOUT

Look = Callable[[Iterable[ModelKey]], None]


@dataclass(frozen=True)
class _Answer:
    requests: int
    at: float  # monotonic seconds


@dataclass
class Gauges:
    """By pod uid. `clock()` is monotonic seconds."""

    cache: Cache
    reader: PodReader
    look: Look
    clock: Callable[[], float]
    chance: random.Random
    _attended: set[ModelKey] = field(default_factory=set)
    _answers: dict[str, _Answer] = field(default_factory=dict)
    _new: asyncio.Event = field(default_factory=asyncio.Event)

    def attend(self, key: ModelKey, *, wanted: bool) -> None:
        """Whether this model's pods are to be asked; the first time that is at once."""
        if not wanted:
            self._attended.discard(key)
            return
        self._attended.add(key)
        if any(_uid(pod) not in self._answers for pod in self._ready(key)):
            self._new.set()

    def engines(self, pods: Iterable[Object]) -> dict[str, int]:
        """Requests by uid, of those that have answered lately."""
        now = self.clock()
        found = {uid: self._answers.get(uid) for uid in map(_uid, pods)}
        return {
            uid: answer.requests
            for uid, answer in found.items()
            if answer is not None and now - answer.at < FRESH_SECONDS
        }

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.ask()
            self._new.clear()
            await self._pause()

    async def ask(self) -> None:
        """All pods that are to be asked, once; news of them lead to looks."""
        asked = {_uid(pod): (key, pod) for key in self._attended for pod in self._ready(key)}
        self._answers = {uid: one for uid, one in self._answers.items() if uid in asked}
        slots = asyncio.Semaphore(ASKED_AT_ONCE)
        news = await asyncio.gather(*(self._ask(slots, pod) for _, pod in asked.values()))
        changed = {key for (key, _), new in zip(asked.values(), news, strict=True) if new}
        if changed:
            self.look(changed)

    async def _ask(self, slots: asyncio.Semaphore, pod: Object) -> bool:
        """Whether the pod has told something new."""
        async with slots:
            told = await status(pod, self.reader)
        if told is None:
            return False
        before = self._answers.get(_uid(pod))
        self._answers[_uid(pod)] = now = _Answer(requests_of(told), self.clock())
        return before is None or before.requests != now.requests

    def _ready(self, key: ModelKey) -> list[Object]:
        return [pod for pod in self.cache.pods(key) if is_ready(pod)]

    async def _pause(self) -> None:
        seconds = ASK_SECONDS * self.chance.uniform(1 - _SPREAD, 1 + _SPREAD)
        try:
            async with asyncio.timeout(seconds):
                await self._new.wait()
        except TimeoutError:
            return


def requests_of(told: PodStatus) -> int:
    """Of all its engines; those of an older server tell only what they have let in."""
    inside = sum((one.running or 0) + (one.waiting or 0) for one in told.engines)
    return max(told.in_flight, inside)


def _uid(pod: Object) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid
