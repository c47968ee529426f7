"""Four data paths with one policy, in one run: which one the gateway has, and why.

    python3 -m bench.gateway.designs [--repeats 3] [--seconds 4] [--out FILE]

Each gets one core, the mock engine and the load the other, as in `bench.gateway`.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.gateway import cell, gateways, instruments, report, scenarios
from bench.gateway.cell import Bench, Cell, Start
from bench.gateway.gateways import Command, Gateway, Place
from bench.gateway.instruments import Mock
from dev import places

# As in run.Design, which needs the gateway's packages; this runs on a bare Python.
DESIGNS = ("uvicorn-aiohttp", "uvicorn-own", "uvicorn-direct", "granian-own")
SCENARIOS = ("S1", "S2", "S3b", "S4", "S5", "S6")


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended too
    options = _options()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with tempfile.TemporaryDirectory(prefix="bench-designs-") as folder:
        bench = Bench(
            binaries=instruments.build(),
            folder=Path(folder),
            lock=options.lock,
            seconds=options.seconds,
            gateway_core=0,
            load_core=1,
            retries=options.retries,
        )
        results = _measure(bench, options.repeats)
    if options.out:
        cells = [one.json() for one in results.cells]
        options.out.write_text(json.dumps(cells, indent=1) + "\n")
    print(report.tables(results))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.gateway.designs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    lock = Path(tempfile.gettempdir()) / "berth-bench.lock"
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured in a cell")
    parser.add_argument("--out", type=Path, help="every cell, as JSON")
    parser.add_argument("--lock", type=Path, default=lock, help="held while a cell is measured")
    parser.add_argument("--retries", type=int, default=1, help="of a cell that others spoil")
    parser.add_argument("--realtime", action="store_true", help="before others' work; needs root")
    return parser.parse_args()


def _measure(bench: Bench, repeats: int) -> report.Results:
    cells: list[Cell] = []
    starts: list[Start] = []
    designs = [Gateway(name, _version, _command(name)) for name in DESIGNS]
    for turn in range(repeats):
        for design in designs if turn % 2 == 0 else reversed(designs):
            with instruments.mock(bench.binaries, bench.pinned(bench.load_core)) as mock:
                _round(bench, design, mock, cells, starts)
    return report.Results(cells, starts, {})


def _round(
    bench: Bench, design: Gateway, mock: Mock, cells: list[Cell], starts: list[Start]
) -> None:
    with cell.running(bench, design, mock.addresses) as (here, start):
        if start is not None:
            starts.append(start)
        for scenario in scenarios.chosen(SCENARIOS):
            found = cell.measure(bench, scenario, design, here, mock)
            cells.append(found)
            print(
                f"{design.name}: {found.scenario}: {found.load['requests_per_second']:,.0f} req/s, "
                f"{found.load['chunks_per_second']:,.0f} chunks/s",
                file=sys.stderr,
                flush=True,
            )


def _version() -> str:
    return "of this repository"


def _command(design: str) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        sources = [places.REPOSITORY / name for name in (".", "crds", "runtime")]
        return Command(
            [
                places.REPOSITORY / ".venv" / "bin" / "python",
                *("-m", "bench.gateway.designs.run", design),
                *("--port", str(place.port), "--endpoints", ",".join(place.endpoints)),
                *("--keys", place.write("keys", gateways.KEY + "\n")),
            ],
            {"PYTHONPATH": os.pathsep.join(map(str, sources))},
        )

    return command


if __name__ == "__main__":
    sys.exit(main())
