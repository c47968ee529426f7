"""How closely the stand-in engine follows a real vLLM on one core.

    BERTH_ENGINE_PYTHON=.../bin/python python3 -m bench.engine --model FOLDER [--record FILE]

Probes of the real engine, one prompt or one batch at a time, give the costs of its steps. Then it
gets another load: bursts of 1, 4, 16 and 32 requests of mixed lengths, with and without prefixes
that it has cached. The stand-in, with the fitted costs, gets the same bursts, and the two times to
first token and to the end of each request are compared.

Everything is asked of the real engine three times, and the fastest counts: what else the machine
does is not to be copied. The spread between the repeats is in the table, for it bounds any fit.
"""

import argparse
import asyncio
import json
import operator
import os
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from bench.engine import fit, load, replica
from bench.engine.fit import Row
from bench.engine.load import Outcome, Request

CORE = 0
# The engine's default on CPU.
BLOCK_TOKENS = 128
FLAGS = replica.Flags(max_model_len=2048, max_num_seqs=32, kv_cache_bytes=2**30)
SEED = 5
# Alone: tokens of the prompt. Together: sequences, and tokens of each prompt.
PROBE_PROMPTS = (16, 64, 128, 256, 512)
PROBE_BATCHES = ((4, 16), (16, 16), (32, 16), (8, 192))
PROBE_OUTPUT = 12
REPEATS = 3
CONCURRENCIES = (1, 4, 16, 32)
# Requests at each concurrency: enough for a median, few enough for a slow core.
REQUESTS = {1: 8, 4: 12, 16: 16, 32: 32}
PROMPT_TOKENS = (24, 48, 96, 160)
# What some prompts begin with: whole blocks, cached after the first time.
PREFIX_BLOCKS = (1, 2, 3)
OUTPUT_TOKENS = (8, 24)


Outcomes = dict[int, list[Outcome]]  # by concurrency, in the order of the requests


@dataclass(frozen=True)
class Costs:
    """`front` is in the API server, before and behind the engine; the others are the step's."""

    front: float
    step: float
    prefill_token: float
    sequence: float
    read_token: float
    attended: float

    def knobs(self) -> dict[str, str]:
        steps = (self.step, self.prefill_token, self.sequence, self.read_token, self.attended)
        return {
            "STANDIN_HEADERS_SECONDS": f"{self.front:.9f}",
            "STANDIN_STEP_COSTS": ",".join(f"{cost:.12f}" for cost in steps),
            "STANDIN_LOAD_SECONDS": "0",
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a folder with real weights")
    parser.add_argument("--record", type=Path, help="write what was measured to this file")
    options = parser.parse_args()
    rows, real = _real(options.model)
    found = Costs(*fit.costs(rows))
    print(f"load average at the end of the real run: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    with replica.stand_in(FLAGS, found.knobs(), BLOCK_TOKENS) as one:
        copied = asyncio.run(_bursts(one.url, 0))
    if options.record:
        kept = {"rows": [asdict(row) for row in rows], "real": [*map(_kept, real)]}
        options.record.write_text(json.dumps(kept | {"copy": _kept(copied)}))
    print(table(found, rows, real, copied))
    return 0


def _real(model: Path) -> tuple[list[Row], list[Outcomes]]:
    with replica.vllm(replica.engine_python(), model, FLAGS, CORE) as one:
        return asyncio.run(_measure(one.url))


async def _measure(url: str) -> tuple[list[Row], list[Outcomes]]:
    """Probes and bursts by turns, so that a noisy hour is noisy for both."""
    dice = random.Random(SEED)  # noqa: S311 -- a workload, the same each time
    await load.burst(url, [Request(load.prompt(dice, 64), 4)] * 2)  # the first of all is slower
    rows: list[Row] = []
    real: list[Outcomes] = []
    for number in range(REPEATS):
        rows += await probe(url, dice)
        real.append(await _bursts(url, number))
    return fastest_rows(rows), real


async def probe(url: str, dice: random.Random) -> list[Row]:
    rows = []
    for tokens in PROBE_PROMPTS:
        [alone] = await load.burst(url, [Request(load.prompt(dice, tokens), PROBE_OUTPUT)])
        rows += [_first(tokens, alone), _gap(1, tokens, alone.gap)]
    for sequences, tokens in PROBE_BATCHES:
        asked = [Request(load.prompt(dice, tokens), PROBE_OUTPUT) for _ in range(sequences)]
        rows.append(_gap(sequences, tokens, _steady_gap(await load.burst(url, asked))))
    return rows


def fastest_rows(rows: Sequence[Row]) -> list[Row]:
    """Of each sort of probe."""
    best: dict[tuple[float, ...], Row] = {}
    for row in rows:
        if row.counts not in best or row.seconds < best[row.counts].seconds:
            best[row.counts] = row
    return list(best.values())


def fastest(repeats: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """Of each request, by its end. One that failed ever has failed."""
    return [
        min(tries, key=lambda one: one.whole) if all(one.ok for one in tries) else Outcome(())
        for tries in zip(*repeats, strict=True)
    ]


def _first(tokens: int, alone: Outcome) -> Row:
    """A prompt alone is one step, and the API server's own time."""
    return Row((1, 1, tokens, 1, 0, tokens**2 / 2), alone.first)


def _gap(sequences: int, tokens: int, seconds: float) -> Row:
    """Between two tokens lies one step of all sequences."""
    read = sequences * (tokens + PROBE_OUTPUT / 2)
    return Row((0, 1, 0, sequences, read, 0), seconds)


def _steady_gap(batch: Sequence[Outcome]) -> float:
    """Once all of a burst decode together, the gaps of its last tokens are alike."""
    last = [one.events[-1] - one.events[-4] for one in batch]
    return statistics.median(last) / 3


def bursts(repeat: int) -> dict[int, list[list[Request]]]:
    """By concurrency. Half of the prompts begin alike; a repeat has other tokens, none cached."""
    dice = random.Random(SEED)  # noqa: S311 -- a workload, the same each time
    tokens = random.Random(SEED + 1 + repeat)  # noqa: S311
    prefixes = [load.prompt(tokens, blocks * BLOCK_TOKENS) for blocks in PREFIX_BLOCKS]
    return {
        size: [
            [_request(dice, tokens, prefixes, number) for number in range(size)]
            for _ in range(REQUESTS[size] // size)
        ]
        for size in CONCURRENCIES
    }


def _request(
    dice: random.Random, tokens: random.Random, prefixes: Sequence[tuple[int, ...]], number: int
) -> Request:
    shared = dice.choice(prefixes) if number % 2 else ()
    own = load.prompt(tokens, dice.choice(PROMPT_TOKENS))
    return Request(shared + own, dice.randint(*OUTPUT_TOKENS), len(shared))


async def _bursts(url: str, repeat: int) -> Outcomes:
    found: Outcomes = {}
    for size, waves in bursts(repeat).items():
        found[size] = []
        for wave in waves:
            found[size] += await load.burst(url, wave)
    return found


def _kept(outcomes: Outcomes) -> dict[int, list[list[float]]]:
    return {size: [list(one.events) for one in some] for size, some in outcomes.items()}


def errors(
    real: Sequence[Outcome], copied: Sequence[Outcome], measure: Callable[[Outcome], float]
) -> list[float]:
    """Relative errors, request by request, of those that both engines served."""
    pairs = zip(real, copied, strict=True)
    return [abs(measure(b) / measure(a) - 1) for a, b in pairs if a.ok and b.ok]


def table(found: Costs, rows: Sequence[Row], real: Sequence[Outcomes], copied: Outcomes) -> str:
    lines = [_fitted(found, rows), "", _HEAD, "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    best = {size: fastest([one[size] for one in real]) for size in copied}
    last = {size: real[-1][size] for size in copied}
    lines += [_line(str(size), best[size], copied[size], last[size]) for size in copied]
    lines.append(_line("all", *(_together(one) for one in (best, copied, last))))
    return "\n".join(lines)


_HEAD = (
    "| at once | requests | served, real | served, stand-in | first token, real / stand-in, s "
    "| median error | whole, real / stand-in, s | median error | between tokens: median error "
    "| the real one's last repeat, whole: median error |"
)


def _together(outcomes: Outcomes) -> list[Outcome]:
    return [one for some in outcomes.values() for one in some]


def _line(
    title: str, real: Sequence[Outcome], copied: Sequence[Outcome], again: Sequence[Outcome]
) -> str:
    served = [f"{sum(one.ok for one in some) / len(some):.0%}" for some in (real, copied)]
    cells = [title, str(len(real)), *served]
    for measure in (_time_to_first, _time_to_last):
        cells.append(f"{_median(real, measure):.3f} / {_median(copied, measure):.3f}")
        cells.append(_median_error(real, copied, measure))
    cells.append(_median_error(real, copied, _between))
    return "| " + " | ".join([*cells, _median_error(real, again, _time_to_last)]) + " |"


def _median(some: Sequence[Outcome], measure: Callable[[Outcome], float]) -> float:
    return statistics.median(measure(one) for one in some if one.ok)


def _median_error(
    real: Sequence[Outcome], copied: Sequence[Outcome], measure: Callable[[Outcome], float]
) -> str:
    return f"{statistics.median(errors(real, copied, measure)):.1%}"


def _time_to_first(one: Outcome) -> float:
    return one.first


def _time_to_last(one: Outcome) -> float:
    return one.whole


def _between(one: Outcome) -> float:
    return one.gap


def _fitted(found: Costs, rows: Sequence[Row]) -> str:
    values = astuple(found)
    off = [abs(sum(map(operator.mul, row.counts, values)) / row.seconds - 1) for row in rows]
    return (
        f"step {found.step * 1e3:.1f} ms, per prefill token {found.prefill_token * 1e3:.3f} ms, "
        f"per sequence {found.sequence * 1e3:.3f} ms, per 1,000 tokens of cache read "
        f"{found.read_token * 1e6:.2f} ms, per 1,000 x 1,000 attended "
        f"{found.attended * 1e9:.0f} ms, in front {found.front * 1e3:.1f} ms; the fit's own "
        f"median error over {len(rows)} probes {statistics.median(off):.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
