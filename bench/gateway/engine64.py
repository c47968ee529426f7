"""A real vLLM at 64 streams, through Berth's gateway and without it.

    BERTH_ENGINE_PYTHON=.../bin/python python3 -m bench.gateway.engine64 --model FOLDER [--pairs 5]

The same work is given to the same engine both ways, in the order direct-gateway, gateway-direct and
so on, so that a machine that grows slower does so for both. The model computes on one core; the
gateway and the load have the other, which they share with the engine's own API server, as they
would with a small node's. Ends with 1 when the gateway keeps less of the throughput than it should.
"""

import argparse
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.engine import replica
from bench.gateway import cell, gateways, instruments, report, usage
from bench.gateway.cell import Bench, Running
from dev import locks

STREAMS = 64
ROUNDS = 2  # of all streams in one measurement, so that prefill and decoding mix
TOKENS = 128
PROMPT_BYTES = 128
KEPT_SHARE = 0.98
REQUEST_SECONDS = 300.0
MEASUREMENT_SECONDS = 900.0
FLAGS = replica.Flags(max_model_len=512, max_num_seqs=STREAMS, kv_cache_bytes=2**30)
DIRECT = "direct"
THROUGH = "berth"


@dataclass(frozen=True)
class Run:
    """One measurement: output tokens per second, and how many of the requests ended whole."""

    way: str
    tokens_per_second: float
    success_rate: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    foreign_cores: float


@dataclass(frozen=True)
class Pair:
    direct: Run
    through: Run

    @property
    def kept(self) -> float:
        """Share of the direct throughput that is left through the gateway."""
        return self.through.tokens_per_second / self.direct.tokens_per_second


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended too
    options = _options()
    python = replica.engine_python()
    with tempfile.TemporaryDirectory(prefix="bench-engine64-") as folder:
        bench = Bench(
            binaries=instruments.build(),
            folder=Path(folder),
            lock=options.lock,
            seconds=0,
            gateway_core=options.load_core,
            load_core=options.load_core,
            retries=0,
        )
        with replica.vllm(python, options.model, FLAGS, options.engine_core) as engine:
            pairs = _pairs(bench, engine.url.removeprefix("http://"), options.pairs)
    if options.out:
        options.out.write_text(json.dumps([asdict(pair) for pair in pairs], indent=1) + "\n")
    print(table(pairs))
    return 0 if kept(pairs) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.gateway.engine64",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    lock = Path(tempfile.gettempdir()) / "berth-bench.lock"
    parser.add_argument(
        "--model", type=Path, required=True, help="a chat model: a folder with weights"
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="every measurement, as JSON")
    parser.add_argument("--lock", type=Path, default=lock, help="held while one is made")
    parser.add_argument("--engine-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    return parser.parse_args()


def _pairs(bench: Bench, engine: str, count: int) -> list[Pair]:
    berth = gateways.chosen([THROUGH])[0]
    with cell.running(bench, berth, [engine], replica.MODEL) as (gateway, _):
        targets = {DIRECT: [engine], THROUGH: gateway.targets}
        _run(bench, gateway, DIRECT, targets[DIRECT])  # the engine's first steps are slower
        return [_pair(bench, gateway, targets, turn) for turn in range(count)]


def _pair(bench: Bench, gateway: Running, targets: dict[str, Sequence[str]], turn: int) -> Pair:
    ways = (DIRECT, THROUGH) if turn % 2 == 0 else (THROUGH, DIRECT)
    runs = {way: _run(bench, gateway, way, targets[way]) for way in ways}
    pair = Pair(runs[DIRECT], runs[THROUGH])
    print(f"pair {turn + 1}: {pair.kept:.3f} {pair}", file=sys.stderr, flush=True)
    return pair


def _run(bench: Bench, gateway: Running, way: str, targets: Sequence[str]) -> Run:
    command = [
        *bench.pinned(bench.load_core),
        str(bench.binaries / "load"),
        f"--targets={','.join(targets)}",
        f"--model={replica.MODEL}",
        f"--key={gateways.KEY}",
        f"--concurrency={STREAMS}",
        f"--requests={STREAMS * ROUNDS}",
        *("--stream", f"--chunks={TOKENS}", "--ignore-eos"),
        *(f"--prompt-bytes={PROMPT_BYTES}", "--distinct=0"),
        f"--timeout={REQUEST_SECONDS}s",
    ]
    with locks.exclusive(bench.lock):
        gateway.settle()
        before = usage.read({})
        load = instruments.load(command, lambda: None, MEASUREMENT_SECONDS)
        spent = usage.between(before, usage.read({}))
    return Run(
        way=way,
        tokens_per_second=load["ok"] * TOKENS / load["seconds"],
        success_rate=load["success_rate"],
        ttft_p50_ms=load["ttft_p50_ms"],
        ttft_p99_ms=load["ttft_p99_ms"],
        foreign_cores=spent.foreign_cores,
    )


def share(pairs: Sequence[Pair]) -> report.Summary | None:
    return report.summary(pair.kept for pair in pairs)


def kept(pairs: Sequence[Pair]) -> bool:
    """The median pair keeps enough, and no request of any was lost."""
    runs = [run for pair in pairs for run in (pair.direct, pair.through)]
    found = share(pairs)
    whole = all(run.success_rate == 1 for run in runs)
    return found is not None and found.median >= KEPT_SHARE and whole


def table(pairs: Sequence[Pair]) -> str:
    lines = [
        "| way | output tokens/s median [min-max] | success % | TTFT p50 ms | runs (spoiled) |",
        "|---|---:|---:|---:|---:|",
        _row(DIRECT, [pair.direct for pair in pairs]),
        _row(THROUGH, [pair.through for pair in pairs]),
    ]
    mark = "pass" if kept(pairs) else "FAIL"
    bar = f"{mark}: share of the direct throughput: {share(pairs)} (bar >= {KEPT_SHARE})"
    return "\n".join([*lines, "", f"- {bar}"])


def _row(way: str, runs: Sequence[Run]) -> str:
    spoiled = sum(run.foreign_cores > cell.FOREIGN_LIMIT_CORES for run in runs)
    cells = [
        way,
        str(report.summary(run.tokens_per_second for run in runs)),
        report.percent(min((run.success_rate for run in runs), default=None)),
        report.figure(statistics.median(run.ttft_p50_ms for run in runs)),
        f"{len(runs)} ({spoiled})",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
