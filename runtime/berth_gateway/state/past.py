"""Queue and replicas of the last half hour, so that whoever opens the page sees how it came to be.

Looked at every few seconds. Only changes are kept: a model at rest takes one point, however long it
rests. Of this gateway alone, and gone with it.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, NamedTuple

from berth_gateway.state.queue_gauges import in_flight
from berth_gateway.state.queues import Queues

LOOK_SECONDS: Final = 5
KEPT_SECONDS: Final = 1800
KEPT_LOOKS: Final = KEPT_SECONDS // LOOK_SECONDS


class Counts(NamedTuple):
    held: int = 0
    in_flight: int = 0
    replicas: int = 0  # that take requests


class Point(NamedTuple):
    """From this look on, until the next point."""

    look: int
    counts: Counts


Series = tuple[Point, ...]  # the oldest first


class Past:
    """Written by one thread and read by another: each series is replaced as a whole."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._series: dict[str, Series] = {}  # by model key
        self.looks = 0

    def look(self) -> None:
        """Called every LOOK_SECONDS, from any one thread."""
        flying, now = in_flight(self._queues), self.looks
        found: dict[str, Series] = {}
        for line in list(self._queues.lines.values()):
            key, replicas = line.model.key, len(line.model.endpoints)
            counts = Counts(len(line.held), flying[key], replicas)
            found[key] = _grown(self._series.get(key, ()), Point(now, counts))
        self._series = found
        self.looks = now + 1

    def of(self, keys: Iterable[str]) -> Series:
        """The sum over these models, as of the last looks."""
        series = self._series
        return summed(series[key] for key in keys if key in series)


def _grown(before: Series, point: Point) -> Series:
    """The oldest point goes once the next one is as old as anything that is kept."""
    same = bool(before) and before[-1].counts == point.counts
    after = before if same else (*before, point)
    first = point.look - KEPT_LOOKS
    forgotten = sum(later.look <= first for _, later in pairwise(after))
    return after[forgotten:] if forgotten else after


def summed(every: Iterable[Series]) -> Series:
    """Step by step: a model counts from its first point on."""
    changes: dict[int, list[tuple[Counts, Counts]]] = {}
    for series in every:
        for before, point in pairwise((Point(0, Counts()), *series)):
            changes.setdefault(point.look, []).append((before.counts, point.counts))
    return tuple(_steps(changes))


def _steps(changes: Mapping[int, list[tuple[Counts, Counts]]]) -> Iterable[Point]:
    total = Counts()
    for look in sorted(changes):
        for before, after in changes[look]:
            total = Counts(
                *(was - old + new for was, old, new in zip(total, before, after, strict=True))
            )
        yield Point(look, total)
