"""What arrives: two traces and three synthetic shapes, each drawn anew from a seed.

A seed moves the traces' beginning (they are rotated), spreads each request's copies over a few
seconds, and draws the synthetic arrivals and their lengths, which are the conversation trace's own.
"""

import csv
import datetime as dt
import gzip
import json
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from .engine import Engine, Request

WARM_SECONDS = 600.0  # run but not measured, so that no law is judged by how it begins
HOUR = 3600.0
# A server of --max-model-len 32768 takes no longer ones: the trace's longest 7 % are cut to it.
MAX_TOKENS = 32_768
ANSWER_ROOM = 2_048
# The second trace's clock moves in steps of 3 s, the first's requests are copied: both are spread.
SPREAD_SECONDS = 3.0
# Requests/s of the synthetic shapes before anything happens: one to two replicas' work.
BASE_RATE = 2.0
# Of the flash crowd.
RISE_SECONDS = 30.0
PEAK_SECONDS = 60.0
HALF_LIFE_SECONDS = 90.0


@dataclass(frozen=True)
class Row:
    at: float
    prompt: int
    answer: int


@dataclass(frozen=True)
class Workload:
    name: str
    engine: Engine
    target: int  # concurrent requests per replica that all laws aim at
    draw: Callable[[random.Random], list[Request]]
    seconds: float = HOUR


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()


@cache
def read(path: Path) -> tuple[Row, ...]:
    """A trace, compressed or not.

    CSV with TIMESTAMP, ContextTokens and GeneratedTokens, or JSON lines with timestamp in ms,
    input_length and output_length.
    """
    with _open(path) as lines:
        rows = _csv(lines) if ".csv" in path.suffixes else _json(lines)
    start = min(row.at for row in rows)
    return tuple(sorted((Row(r.at - start, r.prompt, r.answer) for r in rows), key=lambda r: r.at))


def _csv(lines: IO[str]) -> list[Row]:
    return [
        Row(
            # Seven digits of a second are one more than can be parsed.
            dt.datetime.fromisoformat(row["TIMESTAMP"][:26] + "+00:00").timestamp(),
            int(row["ContextTokens"]),
            int(row["GeneratedTokens"]),
        )
        for row in csv.DictReader(lines)
    ]


def _json(lines: IO[str]) -> list[Row]:
    rows = map(json.loads, lines)
    return [Row(r["timestamp"] / 1000, r["input_length"], r["output_length"]) for r in rows]


def replay(rows: Sequence[Row], factor: int, rng: random.Random) -> list[Request]:
    """The trace `factor` times over itself, begun somewhere in the middle, each copy a little off.

    What is measured is the whole trace once; its end comes before, as the warm-up.
    """
    length = rows[-1].at + SPREAD_SECONDS
    begin = rng.uniform(0, length)
    requests = []
    for row in rows:
        at = WARM_SECONDS + (row.at - begin) % length
        for lap in (0.0, length):
            if at >= lap:
                spread = (rng.uniform(0, SPREAD_SECONDS) for _ in range(factor))
                requests += [Request(at - lap + more, *_sized(row)) for more in spread]
    return sorted(requests, key=lambda r: r.arrived)


def _sized(row: Row) -> tuple[int, int]:
    return min(max(row.prompt, 1), MAX_TOKENS - ANSWER_ROOM), min(max(row.answer, 1), ANSWER_ROOM)


def poisson(
    rate: Callable[[float], float],
    most: float,
    seconds: float,
    rows: Sequence[Row],
    rng: random.Random,
) -> list[Request]:
    """Arrivals at a rate that changes with time and is never above `most`."""
    requests = []
    now = 0.0
    while (now := now + rng.expovariate(most)) < WARM_SECONDS + seconds:
        if rng.random() * most < rate(now - WARM_SECONDS):
            requests.append(Request(now, *_sized(rng.choice(rows))))
    return requests


def step(rng: random.Random, rows: Sequence[Row]) -> list[Request]:
    """Five times the base for twenty minutes."""
    begin = rng.uniform(900, 1_500)
    return poisson(
        lambda t: BASE_RATE * (5 if begin <= t < begin + 1_200 else 1),
        5 * BASE_RATE,
        HOUR,
        rows,
        rng,
    )


def ramp(rng: random.Random, rows: Sequence[Row]) -> list[Request]:
    """To five times the base within ten minutes, ten minutes there, and down again as slowly."""
    begin = rng.uniform(600, 1_200)
    marks = [begin, begin + 600, begin + 1_200, begin + 1_800]

    def rate(t: float) -> float:
        part = (0.0, (t - marks[0]) / 600, 1.0, (marks[3] - t) / 600, 0.0)[bisect_right(marks, t)]
        return BASE_RATE * (1 + 4 * part)

    return poisson(rate, 5 * BASE_RATE, HOUR, rows, rng)


def flash(rng: random.Random, rows: Sequence[Row]) -> list[Request]:
    """To eight times the base within half a minute, a minute there, then halved every 90 s."""
    begin = rng.uniform(900, 2_100)

    def rate(t: float) -> float:
        since = t - begin
        if since < 0:
            part = 0.0
        elif since < RISE_SECONDS:
            part = since / RISE_SECONDS
        else:
            part = min(1.0, 0.5 ** ((since - RISE_SECONDS - PEAK_SECONDS) / HALF_LIFE_SECONDS))
        return BASE_RATE * (1 + 7 * part)

    return poisson(rate, 8 * BASE_RATE, HOUR, rows, rng)
