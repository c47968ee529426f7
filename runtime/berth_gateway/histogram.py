"""Seconds that requests took, counted by size: cheap to add to, and read from another thread."""

from bisect import bisect_left
from typing import Final

# From a cached 404 to a request that is held as long as any model allows (`queue.maxWaitSeconds`).
BOUNDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600,
)  # fmt: skip


class Histogram:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)  # the last is above all bounds
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BOUNDS, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        rows, below = [], 0
        for bound, count in zip((*BOUNDS, None), tuple(self.counts), strict=True):
            below += count
            rows.append(("+Inf" if bound is None else str(float(bound)), float(below)))
        return rows
