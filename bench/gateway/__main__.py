"""Berth's gateway beside its peers, each on one core, the mock engine and the load on the other.

    python3 -m bench.gateway [--repeats 3] [--seconds 5] [--gateways berth,litellm] [--scenarios S1]

Gateways take turns, in the opposite order every other round; each round starts each of them anew.
Prints a table for every scenario and whether the bars are kept; `--out` keeps every cell as JSON.
Ends with 1 when a bar is missed. A run that is interrupted shows what it has.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.gateway import bars, cell, gateways, instruments, report, scenarios
from bench.gateway.cell import Bench, Cell, Start
from bench.gateway.gateways import Gateway
from bench.gateway.scenarios import Scenario
from dev.errors import DevError


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended too
    options = _options()
    if options.realtime:
        # Inherited by what is started here; niceness would count only inside one session.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    here = gateways.chosen(options.gateways)
    asked = scenarios.chosen(options.scenarios)
    versions = gateways.prepare(here)
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
        bench = Bench(
            binaries=instruments.build(),
            folder=Path(folder),
            lock=options.lock,
            seconds=options.seconds,
            gateway_core=options.gateway_core,
            load_core=options.load_core,
            retries=options.retries,
        )
        results = _measure(bench, here, asked, options.repeats)
    if options.out:
        options.out.write_text(json.dumps(_raw(options, versions, results), indent=1) + "\n")
    print(report.tables(results), end="\n\n")
    found = bars.verdicts(results)
    print("\n".join(f"- {verdict}" for verdict in found))
    return 0 if all(verdict.kept for verdict in found) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.gateway",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    every_gateway = [gateway.name for gateway in gateways.GATEWAYS]
    every_scenario = [scenario.name for scenario in scenarios.SCENARIOS]
    lock = Path(tempfile.gettempdir()) / "berth-bench.lock"
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="measured in a cell")
    parser.add_argument("--gateways", type=_names(every_gateway), default=every_gateway)
    parser.add_argument("--scenarios", type=_names(every_scenario), default=every_scenario)
    parser.add_argument("--out", type=Path, help="every cell, as JSON")
    parser.add_argument("--lock", type=Path, default=lock, help="held while a cell is measured")
    parser.add_argument("--retries", type=int, default=1, help="of a cell that others spoil")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--realtime", action="store_true", help="before others' work; needs root")
    return parser.parse_args()


def _names(every: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := sorted(set(names) - set(every)):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not in {', '.join(every)}")
        return names

    return parse


def _measure(
    bench: Bench, here: Sequence[Gateway], asked: Sequence[Scenario], repeats: int
) -> report.Results:
    found: list[Cell | Start] = []
    try:
        for turn in range(repeats):
            for gateway in here if turn % 2 == 0 else reversed(here):
                for one in _round(bench, gateway, asked):
                    _tell(turn, one)
                    found.append(one)
    except KeyboardInterrupt:
        print("interrupted: what follows is not all", file=sys.stderr)
    return report.Results(
        cells=[one for one in found if isinstance(one, Cell)],
        starts=[one for one in found if isinstance(one, Start)],
        likes={gateway.name: gateway.like for gateway in here},
    )


def _round(bench: Bench, gateway: Gateway, asked: Sequence[Scenario]) -> Iterator[Cell | Start]:
    """A gateway's start and cells; one that breaks costs the rest of its round, not the run."""
    wanted = [scenario for scenario in asked if scenario.name in gateway.scenarios]
    if not wanted:
        return
    mocked = instruments.mock(bench.binaries, bench.pinned(bench.load_core))
    try:
        with mocked as mock, cell.running(bench, gateway, mock.addresses) as (here, start):
            if start is not None:
                yield start
            for scenario in wanted:
                yield cell.measure(bench, scenario, gateway, here, mock)
    except DevError as error:
        print(f"{gateway.name}: {error}", file=sys.stderr, flush=True)


def _tell(turn: int, found: Cell | Start) -> None:
    if isinstance(found, Start):
        text = f"first answer after {found.seconds:.2f} s, {found.idle_mb:.0f} MB"
    else:
        load = found.load
        text = (
            f"{found.scenario}: {load['requests_per_second']:,.0f} req/s, "
            f"{load['chunks_per_second']:,.0f} chunks/s, success "
            f"{report.percent(load['success_rate'])} %, failures {load['failures']}, "
            f"foreign {found.foreign_cores:.2f} cores{', spoiled' * found.spoiled}"
        )
    print(f"round {turn + 1}: {found.gateway}: {text}", file=sys.stderr, flush=True)


def _raw(
    options: argparse.Namespace, versions: dict[str, str], results: report.Results
) -> dict[str, object]:
    return {
        "machine": {"system": platform.platform(), "processor": _processor()},
        "options": {name: str(value) for name, value in vars(options).items()},
        "versions": versions,
        "starts": [vars(start) for start in results.starts],
        "cells": [one.json() for one in results.cells],
        "bars": [
            {"words": one.bar.words, "limit": one.bar.limit, "value": one.value, "kept": one.kept}
            for one in bars.verdicts(results)
        ],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
