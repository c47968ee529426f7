"""What a replica should be asked to take: the target that all laws are given.

Four replicas of fixed number under Poisson arrivals, faster and faster: the target is the mean
concurrency on each at the last rate that leaves 99 of 100 first tokens in time.
"""

import random
from pathlib import Path
from typing import NamedTuple

from . import measure, workloads
from .engine import H100, L4, Engine
from .fleet import Fleet, Setup, View

REPLICAS = 4
ON_TIME = 0.99
SECONDS = 1_800.0
RATES = [0.4 + 0.05 * i for i in range(50)]  # per replica


class Point(NamedTuple):
    rate: float
    late: float  # share
    concurrency: float  # on each


class _Fixed:
    tick_seconds = 5.0
    delay_seconds = 0.0
    event_driven = False

    def __init__(self) -> None:
        self.loads: list[int] = []

    def look(self, view: View, current: int) -> int:
        if view.now > workloads.WARM_SECONDS:
            self.loads.append(view.in_flight + view.held)
        return current


def at(engine: Engine, rows: tuple[workloads.Row, ...], rate: float) -> Point:
    rng = random.Random(0)
    total = rate * REPLICAS
    requests = workloads.poisson(lambda _: total, total, SECONDS, rows, rng)
    watch = _Fixed()
    setup = Setup(engine, initial_replicas=REPLICAS)
    fleet = Fleet(setup, watch, 0, workloads.WARM_SECONDS)
    found = measure.outcome(fleet.run(requests, workloads.WARM_SECONDS + SECONDS), engine)
    concurrency = sum(watch.loads) / len(watch.loads) / REPLICAS
    return Point(rate, found.late / found.requests, concurrency)


def last_on_time(engine: Engine, rows: tuple[workloads.Row, ...]) -> Point:
    best = Point(0.0, 0.0, 0.0)
    for rate in RATES:
        point = at(engine, rows, rate)
        if point.late > 1 - ON_TIME:
            return best
        best = point
    return best


def report(conversation: Path, mooncake: Path) -> str:
    pairs = ((L4, workloads.read(conversation)), (H100, workloads.read(mooncake)))
    return "\n".join(
        f"{engine.name}: {point.concurrency:.1f} at {point.rate:.2f} requests/s each, "
        f"{point.late:.1%} late"
        for engine, point in ((engine, last_on_time(engine, rows)) for engine, rows in pairs)
    )
