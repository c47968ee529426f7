"""What Berth's gateway promises of one core, and whether this run kept it."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.gateway import report
from bench.gateway.report import DIRECT, LITELLM, Results, Summary
from bench.gateway.scenarios import DELIVERED_SHARE, SCENARIOS

OURS = "berth"
LIKE = "vllm-router"
# Every bar asks that the requests behind the figure were answered too.
SUCCESS_SHARE = 0.999

_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@dataclass(frozen=True)
class Bar:
    """`value` of a results' table is to be at least, or at most, the limit."""

    words: str
    limit: float
    unit: str
    scenario: str
    value: Callable[[Results], float | None]
    at_most: bool = False


@dataclass(frozen=True)
class Verdict:
    bar: Bar
    value: float | None  # None: not measured, which is not kept
    success: float | None  # of the worst repeat behind it
    kept: bool

    def __str__(self) -> str:
        sign = "<=" if self.bar.at_most else ">="
        mark = "pass" if self.kept else "FAIL"
        value, limit = report.figure(self.value), report.figure(self.bar.limit)
        return (
            f"{mark}: {self.bar.words}: {value} {self.bar.unit} "
            f"(bar {sign} {limit}, success {report.percent(self.success)} %)"
        )


def _beside(scenario: str, other: str) -> Callable[[Results], float | None]:
    """Our headline over another gateway's."""
    return lambda results: report.ratio(
        _headline(results, scenario), _headline(results, scenario, other)
    )


def _headline(results: Results, scenario: str, gateway: str = OURS) -> Summary | None:
    return results.headline(_BY_NAME[scenario], gateway)


def _ours(scenario: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        found = _headline(results, scenario)
        return found.median if found else None

    return value


def _added(field: str) -> Callable[[Results], float | None]:
    """What the gateway adds to a latency of S3b, between medians."""

    def value(results: Results) -> float | None:
        ours, engines = (
            results.measured("S3b", name, report.load_field(field)) for name in (OURS, DIRECT)
        )
        return ours.median - engines.median if ours and engines else None

    return value


def _streams(results: Results) -> float | None:
    """Delivered share of S5, the worst repeat's."""
    found = results.measured("S5", OURS, lambda cell: cell.load["success_rate"])
    return found.low if found else None


def _resident(results: Results) -> float | None:
    """The highest of all its cells, by the kernel's own high-water mark."""
    found = report.summary(cell.peak_mb for cell in results.cells if cell.gateway == OURS)
    return found.high if found else None


BARS = (
    Bar("requests per second beside LiteLLM", 20, "x", "S1", _beside("S1", LITELLM)),
    Bar("requests per second beside vllm-router power_of_two", 0.8, "x", "S1", _beside("S1", LIKE)),
    Bar("paced chunks per second", 60_000, "chunks/s", "S6max", _ours("S6max")),
    Bar("added TTFT p50 at 500 req/s", 1.0, "ms", "S3b", _added("ttft_p50_ms"), at_most=True),
    Bar("added TTFT p99 at 500 req/s", 3.0, "ms", "S3b", _added("ttft_p99_ms"), at_most=True),
    Bar("220 KB prompts", 1_000, "req/s", "S4", _ours("S4")),
    Bar("1,000 open streams, share that ended whole", SUCCESS_SHARE, "of 1", "S5", _streams),
    Bar("resident at the peak of all scenarios", 80, "MB", "S1", _resident, at_most=True),
)


def verdicts(results: Results) -> list[Verdict]:
    """Of the bars whose scenario was run at all."""
    run = {cell.scenario for cell in results.cells if cell.gateway == OURS}
    return [_verdict(results, bar) for bar in BARS if bar.scenario in run]


def _verdict(results: Results, bar: Bar) -> Verdict:
    value = bar.value(results)
    success = report.lowest_success(results.of(bar.scenario, OURS))
    reached = value is not None and (value <= bar.limit if bar.at_most else value >= bar.limit)
    floor = min(SUCCESS_SHARE, _floor(bar))
    return Verdict(bar, value, success, reached and success is not None and success >= floor)


def _floor(bar: Bar) -> float:
    """A rate that is searched for may cost what the search allows."""
    return DELIVERED_SHARE if _BY_NAME[bar.scenario].search else SUCCESS_SHARE
