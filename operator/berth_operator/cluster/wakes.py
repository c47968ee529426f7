"""When a change of the load is looked at: at once where it may decide, else a moment later."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from berth_operator.cluster.cache import ModelKey
from berth_operator.core.observed import Load
from berth_operator.core.outcome import Attention
from berth_operator.core.scaling.demand import Key

# A change that cannot lead to another decision at once is looked at within this; a model that the
# user sizes has its queue told only.
PATIENCE_SECONDS: Final = 1.0
QUEUE_PATIENCE_SECONDS: Final = 5.0

Look = Callable[[Iterable[ModelKey]], None]
"""Puts models on the work queue."""


class Wakes:
    def __init__(self, look: Look, clock: Callable[[], float]) -> None:
        self._look = look
        self._clock = clock
        self._attention: dict[Key, Attention] = {}
        self._looked_at: dict[Key, float] = {}
        self._due: dict[Key, asyncio.TimerHandle] = {}

    def attend(self, key: Key, attention: Attention | None) -> None:
        if attention is None:
            self._attention.pop(key, None)
            self._looked_at.pop(key, None)
            self._cancel(key)
        else:
            self._attention[key] = attention

    def news(self, key: ModelKey, before: Load, after: Load) -> None:
        if _urgent(self._attention.get(key), before, after):
            self._now(key)
        else:
            self._soon(key)

    def changed(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._soon(ModelKey(*key))

    def all(self) -> None:
        """Those that Berth sizes."""
        self.changed([key for key, one in self._attention.items() if one.capacity is not None])

    def _soon(self, key: ModelKey) -> None:
        if key in self._due:
            return
        attention = self._attention.get(key)
        sized_by_user = attention is not None and attention.capacity is None
        patience = QUEUE_PATIENCE_SECONDS if sized_by_user else PATIENCE_SECONDS
        since = self._clock() - self._looked_at.get(key, -patience)
        delay = max(0.0, patience - since)
        self._due[key] = asyncio.get_running_loop().call_later(delay, self._now, key)

    def _now(self, key: ModelKey) -> None:
        self._cancel(key)
        self._looked_at[key] = self._clock()
        self._look((key,))

    def _cancel(self, key: Key) -> None:
        due = self._due.pop(key, None)
        if due is not None:
            due.cancel()


def _urgent(attention: Attention | None, before: Load, after: Load) -> bool:
    """Whether the decision may be another one: someone waits, or no one any more, or too many."""
    if attention is None or attention.capacity is None:
        return False
    if (before.held == 0) != (after.held == 0):
        return True
    return _requests(before) <= attention.capacity < _requests(after)


def _requests(load: Load) -> int:
    return load.held + sum(load.in_flight.values())
