"""Swaps and waits by law: `python3 -m bench.residency [--quick] [--seeds 10]`."""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.residency.laws import LAWS
from bench.residency.workloads import WORKLOADS, Workload
from bench.residency.world import Law, Run, World

QUICK_SEEDS = 2
SEEDS = 10


class Row(NamedTuple):
    requests: int
    swaps: float
    loads: float
    mean_wait: float  # seconds, from arrival until it is sent to an engine
    p99_wait: float
    longest_wait: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SEEDS} seeds")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    seeds = range(QUICK_SEEDS if options.quick else options.seeds)
    print(_HEAD)
    for workload in WORKLOADS:
        rows = {name: row(workload, law, seeds) for name, law in LAWS.items()}
        print(table(workload.name, rows), flush=True)
    return 0


def row(workload: Workload, law: Law, seeds: Sequence[int]) -> Row:
    runs = [World(workload.setup(), law, seed).run(workload.draw(seed)) for seed in seeds]
    waits = sorted(wait for one in runs for wait in waited(one))
    return Row(
        len(waits),
        statistics.mean(one.swaps for one in runs),
        statistics.mean(one.loads for one in runs),
        statistics.mean(waits),
        waits[int(0.99 * len(waits))],
        waits[-1],
    )


def waited(run: Run) -> list[float]:
    return [one.began - one.arrived for one in run.requests]


def table(workload: str, rows: Mapping[str, Row]) -> str:
    berth = rows["Berth"]
    return "\n".join(
        f"| {workload} | {name} | {one.requests} | {one.swaps:.1f} | {one.loads:.1f} "
        f"| {one.mean_wait:.2f} | {one.p99_wait:.0f} | {one.longest_wait:.0f} "
        f"| {_ratio(berth.swaps, one.swaps)} | {_ratio(berth.mean_wait, one.mean_wait)} |"
        for name, one in rows.items()
    )


def _ratio(berth: float, other: float) -> str:
    return f"{berth / other:.2f}" if other else "-"


_COLUMNS = (
    "workload",
    "law",
    "requests",
    "swaps a run",
    "loads a run",
    "wait mean, s",
    "p99",
    "longest",
    "Berth's swaps, in parts of these",
    "Berth's mean wait",
)
_HEAD = f"| {' | '.join(_COLUMNS)} |\n|---|---|{'---:|' * (len(_COLUMNS) - 2)}"

if __name__ == "__main__":
    sys.exit(main())
