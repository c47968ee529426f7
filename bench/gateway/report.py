"""Cells to tables: medians with their range, and each gateway beside the peers."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.gateway.cell import Cell, Start
from bench.gateway.scenarios import SCENARIOS, Scenario, Unit

LITELLM = "litellm"
DIRECT = "direct"
# A load side that used this much of its core may itself be the limit.
LOAD_LIMIT_CORES = 0.9
NOTHING = "-"


@dataclass(frozen=True)
class Summary:
    """One number over the repeats of a cell."""

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{figure(self.median)} [{figure(self.low)}-{figure(self.high)}]"


def summary(values: Iterable[float | None]) -> Summary | None:
    """None where nothing was measured; values that are missing are left out."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Summary(statistics.median(known), min(known), max(known), len(known))


def figure(value: float | None) -> str:
    """Three digits are what such a measurement can say."""
    if value is None:
        return NOTHING
    if abs(value) >= 100:  # noqa: PLR2004 -- three digits before the point
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratio(of: Summary | None, to: Summary | None) -> float | None:
    """Between medians."""
    return of.median / to.median if of and to and to.median else None


@dataclass(frozen=True)
class Results:
    """Every cell and start of a run, and what each gateway is compared with."""

    cells: Sequence[Cell]
    starts: Sequence[Start]
    likes: Mapping[str, str | None]  # gateway → the peer of the like policy

    def of(self, scenario: str, gateway: str) -> list[Cell]:
        return [cell for cell in self.cells if (cell.scenario, cell.gateway) == (scenario, gateway)]

    def measured(
        self, scenario: str, gateway: str, read: Callable[[Cell], float | None]
    ) -> Summary | None:
        return summary(read(cell) for cell in self.of(scenario, gateway))

    def headline(self, scenario: Scenario, gateway: str) -> Summary | None:
        return self.measured(scenario.name, gateway, load_field(scenario.headline))

    def gateways(self, scenario: str) -> list[str]:
        return list(dict.fromkeys(cell.gateway for cell in self.cells if cell.scenario == scenario))


def load_field(name: str) -> Callable[[Cell], float | None]:
    return lambda cell: cell.load.get(name)


def cpu_us(unit: Unit) -> Callable[[Cell], float | None]:
    """Of the gateway's process tree, per request or per chunk."""
    field = {Unit.REQUEST: "requests_per_second", Unit.CHUNK: "chunks_per_second"}[unit]

    def read(cell: Cell) -> float | None:
        rate = cell.load[field]
        return cell.gateway_cores / rate * 1e6 if cell.gateway_cores and rate else None

    return read


def tables(results: Results) -> str:
    parts = [
        f"### {scenario.name}: {scenario.title}\n\n{table(results, scenario)}"
        for scenario in SCENARIOS
        if results.gateways(scenario.name)
    ]
    return "\n\n".join([*parts, f"### Start and memory\n\n{start_table(results)}"])


def table(results: Results, scenario: Scenario) -> str:
    heads = [
        f"{scenario.heading} median [min-max]",
        "success %",
        "x direct",
        "x like peer",
        "x litellm",
        f"CPU us/{scenario.unit.value}",
        "TTFT p50 / p99 ms",
        "total p50 / p99 ms",
        "gap p99 ms",
        "delivered %",
        "identical %",
        "same endpoint %",
        "gateway / load side / foreign cores",
        "runs (spoiled)",
    ]
    rows = [_row(results, scenario, name) for name in results.gateways(scenario.name)]
    return _markdown(["gateway", *heads], rows)


def _row(results: Results, scenario: Scenario, gateway: str) -> list[str]:
    def of(read: Callable[[Cell], float | None]) -> float | None:
        found = results.measured(scenario.name, gateway, read)
        return found.median if found else None

    def load(name: str) -> float | None:
        return of(load_field(name))

    headline = results.headline(scenario, gateway)
    like = results.likes.get(gateway)
    others = [results.headline(scenario, other) for other in (DIRECT, like or "", LITELLM)]
    load_side = of(_load_side) or 0.0
    cores = (
        _cores(of(lambda cell: cell.gateway_cores)),
        _cores(load_side) + "*" * (load_side >= LOAD_LIMIT_CORES),
        _cores(of(lambda cell: cell.foreign_cores)),
    )
    cells = results.of(scenario.name, gateway)
    return [
        gateway,
        str(headline) if headline else "none",
        percent(lowest_success(cells)),
        *(figure(ratio(headline, other)) for other in others),
        figure(of(cpu_us(scenario.unit))),
        f"{figure(load('ttft_p50_ms'))} / {figure(load('ttft_p99_ms'))}",
        f"{figure(load('total_p50_ms'))} / {figure(load('total_p99_ms'))}",
        figure(load("gap_p99_ms")),
        percent(of(lambda cell: cell.delivered)),
        percent(load("identical_share")),
        percent(load("stayed_share")),
        " / ".join(cores),
        f"{len(cells)} ({sum(cell.spoiled for cell in cells)})",
    ]


def _cores(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _load_side(cell: Cell) -> float:
    return cell.mock_cores + cell.load_cores


def lowest_success(cells: Iterable[Cell]) -> float | None:
    """The worst repeat's: a median would hide a bad one."""
    known = [cell.load["success_rate"] for cell in cells if cell.load["success_rate"] is not None]
    return min(known, default=None)


def percent(share: float | None) -> str:
    """One digit after the point, and never rounded up to 100."""
    if share is None:
        return NOTHING
    return f"{int(share * 1000) / 10:.1f}" if share < 1 else f"{share:.0%}".rstrip("%")


def start_table(results: Results) -> str:
    names = list(dict.fromkeys(start.gateway for start in results.starts))
    rows = []
    for name in names:
        starts = [start for start in results.starts if start.gateway == name]
        peaks = summary(cell.peak_mb for cell in results.cells if cell.gateway == name)
        rows.append(
            [
                name,
                str(summary(start.seconds for start in starts)),
                str(summary(start.idle_mb for start in starts)),
                figure(peaks.high if peaks else None),
                f"{len(starts)}",
            ]
        )
    return _markdown(["gateway", "start to first answer s", "idle MB", "peak MB", "runs"], rows)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
