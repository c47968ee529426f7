"""How fast the changes of a spec are followed.

A script that flips one must not make a hundred revisions, each with pods of its own. The first
change is followed at once. What comes within a moment after it waits for that moment's end, and
then only the last one counts.
"""

from collections.abc import Callable, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

# Longer than a look takes, shorter than a person needs for the next change.
FOLLOW_SECONDS: Final = 1.0

K = TypeVar("K", bound=Hashable)


class _Followed(NamedTuple):
    generation: int | None
    at: float


class SpecPace(Generic[K]):
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._followed: dict[K, _Followed] = {}

    def wait_seconds(self, key: K, generation: int | None) -> float:
        """Until this generation may be followed; 0 if it is from now on."""
        last, now = self._followed.get(key), self._clock()
        if last is not None and last.generation == generation:
            return 0.0
        if last is not None and now - last.at < FOLLOW_SECONDS:
            return last.at + FOLLOW_SECONDS - now
        self._followed[key] = _Followed(generation, now)
        return 0.0

    def forget(self, key: K) -> None:
        self._followed.pop(key, None)
