"""What is asked of every gateway: the load's arguments, the mock's pace, what is read off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

MODEL = "bench-model"  # what the mock serves and the load asks for
S6_STREAMS = 500
# Of a paced stream in the search, so that a rate is held for a while by streams that end too.
SEARCH_STREAM_SECONDS = 3.0
# Rates tried, in chunks/s. Below the first a stream has too few chunks for its pace to be seen;
# above the last the load side itself is the limit.
SEARCH_LOWEST = 2_000.0
SEARCH_HIGHEST = 200_000.0
# How fine the search is: no finer than what repeats of one rate differ by.
SEARCH_STEP = 1.05
# "Delivered": what arrives in the window, of what the streams' pace gives.
DELIVERED_SHARE = 0.99


class Unit(str, Enum):
    """What a scenario's CPU time is divided by."""

    REQUEST = "request"
    CHUNK = "chunk"


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    load: tuple[str, ...]  # arguments, without targets, key and times
    headline: str  # the load's field that the table leads with
    heading: str
    unit: Unit = Unit.REQUEST
    gap_us: int = 0  # the mock's, between two chunks
    offered_chunks: float | None = None  # per second, by the streams' pace
    warmup_seconds: float = 1.5
    seconds: float | None = None  # measured; None: what the command line says
    search: bool = False  # for the highest paced rate, instead of one cell


def _offered(chunks: int, gap_us: int) -> float:
    """Chunks/s of S6's streams: the first of a stream comes at once, when the last has ended."""
    return S6_STREAMS * chunks / ((chunks - 1) * gap_us) * 1e6


SCENARIOS = (
    Scenario(
        name="S1",
        title="1 KB request, 1 KB reply, no stream, closed loop of 32",
        load=("--concurrency=32",),
        headline="requests_per_second",
        heading="req/s",
    ),
    Scenario(
        name="S2",
        title="streams of 128 chunks as fast as possible, closed loop of 32 (chunks coalesce)",
        load=("--concurrency=32", "--stream", "--chunks=128"),
        headline="chunks_per_second",
        heading="chunks/s",
        unit=Unit.CHUNK,
    ),
    Scenario(
        name="S3b",
        title="open loop, 500 req/s (Poisson), 1 KB prompt, 20 chunks 5 ms apart",
        load=("--rate=500", "--stream", "--chunks=20"),
        headline="ttft_p50_ms",
        heading="TTFT p50 ms",
        gap_us=5_000,
    ),
    Scenario(
        name="S4",
        title="220 KB prompts, streams of 8 chunks, closed loop of 20",
        load=(
            "--concurrency=20",
            "--stream",
            "--chunks=8",
            "--prompt-bytes=225280",
            "--distinct=64",
        ),
        headline="requests_per_second",
        heading="req/s",
    ),
    Scenario(
        name="S5",
        title="1,000 open streams, 100 chunks 100 ms apart (10,000 chunks/s)",
        load=("--concurrency=1000", "--ramp=1s", "--stream", "--chunks=100"),
        headline="chunks_per_second",
        heading="chunks/s",
        unit=Unit.CHUNK,
        gap_us=100_000,
        # From the first on, so that the time to the first chunk of all of them is seen; a stream
        # lasts 9.9 s, and none begins a second time before the end.
        warmup_seconds=0.0,
        seconds=9.5,
    ),
    Scenario(
        name="S6",
        title="500 open streams, 600 chunks 5 ms apart (100,000 chunks/s, little coalescing)",
        load=(f"--concurrency={S6_STREAMS}", "--ramp=1s", "--stream", "--chunks=600"),
        headline="chunks_per_second",
        heading="chunks/s",
        unit=Unit.CHUNK,
        gap_us=5_000,
        offered_chunks=_offered(600, 5_000),
        warmup_seconds=2.0,
    ),
    Scenario(
        name="S6max",
        title=f"500 open streams: the highest paced rate that arrives to {DELIVERED_SHARE:.0%}",
        load=(f"--concurrency={S6_STREAMS}", "--ramp=500ms", "--stream"),
        headline="chunks_per_second",
        heading="chunks/s",
        unit=Unit.CHUNK,
        warmup_seconds=1.5,
        seconds=3.0,
        search=True,
    ),
    Scenario(
        name="S7",
        title="conversations of 4 turns (1 KB, and 512 bytes a turn), no stream, closed loop of 32",
        load=("--concurrency=32", "--turns=4", "--turn-bytes=256", "--distinct=0"),
        headline="requests_per_second",
        heading="req/s",
    ),
)


def paced(scenario: Scenario, rate: float) -> Scenario:
    """One cell of the search: the scenario's streams at `rate` chunks/s in all."""
    gap_us = max(1, round(S6_STREAMS / rate * 1e6))
    chunks = max(2, round(SEARCH_STREAM_SECONDS * 1e6 / gap_us))
    return Scenario(
        name=scenario.name,
        title=scenario.title,
        load=(*scenario.load, f"--chunks={chunks}"),
        headline=scenario.headline,
        heading=scenario.heading,
        unit=scenario.unit,
        gap_us=gap_us,
        offered_chunks=_offered(chunks, gap_us),
        warmup_seconds=scenario.warmup_seconds,
        seconds=scenario.seconds,
    )


def rates() -> list[float]:
    """The search's ladder, each rung SEARCH_STEP above the one before."""
    ladder = [SEARCH_LOWEST]
    while ladder[-1] * SEARCH_STEP <= SEARCH_HIGHEST:
        ladder.append(ladder[-1] * SEARCH_STEP)
    return ladder


def delivered(scenario: Scenario, load: Mapping[str, object]) -> float | None:
    """What arrived, of what the streams' pace gives; None where there is no pace."""
    arrived = load.get(scenario.headline)
    if scenario.offered_chunks is None or not isinstance(arrived, (int, float)):
        return None
    return arrived / scenario.offered_chunks


def chosen(names: Sequence[str]) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if scenario.name in names]
