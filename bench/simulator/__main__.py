"""The comparison of replica laws.

    python3 -m bench.simulator --traces FOLDER [--quick] [--seeds 30] [--cold-start 60] [--out FILE]
    python3 -m bench.simulator target --traces FOLDER

FOLDER (or the variable BERTH_TRACES) holds two published traces, under these names or others
(`--conversation`, `--mooncake`): azure-llm-2023-conv.csv.gz is AzureLLMInferenceTrace_conv.csv of
Azure/AzurePublicDataset, mooncake-conversation.jsonl.gz is conversation_trace.jsonl of Mooncake's
FAST25 release. Exit code 1 where a bar is missed.

Every law sees the same requests; each seed draws them anew. Tables are Markdown, means over seeds.
"""

import argparse
import json
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from math import inf
from multiprocessing import Pool
from pathlib import Path

from . import measure, scenarios, table, targets
from .engine import Request
from .fleet import Fleet, Setup
from .workloads import HOUR, WARM_SECONDS

CONVERSATION = "azure-llm-2023-conv.csv.gz"
MOONCAKE = "mooncake-conversation.jsonl.gz"
QUICK_SEEDS = 1
PROCESSES = 2
NICE = 10


def main() -> int:
    args = _arguments()
    if args.command == "target":
        print(targets.report(args.conversation, args.mooncake))
        return 0
    began = time.monotonic()
    results = [row for path in args.merge for row in json.loads(path.read_text())]
    if not results:
        count = QUICK_SEEDS if args.quick else args.seeds
        results = _measured(args, range(args.first_seed, args.first_seed + count))
    lines = _lines(results)
    seeds = len({row["seed"] for row in results})
    print(f"{seeds} seeds, cold start {args.cold_start:g} s, {time.monotonic() - began:.0f} s\n")
    print(table.per_workload(lines), table.bars(lines), sep="\n\n")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1))
    return 0 if table.passed(lines) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.simulator")
    parser.add_argument("command", nargs="?", choices=["compare", "target"], default="compare")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cold-start", type=float, default=60.0, help="seconds")
    parser.add_argument("--only", default="", help="laws whose name has this in it")
    parser.add_argument(
        "--merge", type=Path, nargs="+", default=[], help="show what earlier --out files hold"
    )
    parser.add_argument("--out", type=Path, help="every run's numbers, as JSON")
    parser.add_argument("--traces", type=Path, default=os.environ.get("BERTH_TRACES"))
    parser.add_argument("--conversation", type=Path)
    parser.add_argument("--mooncake", type=Path)
    args = parser.parse_args()
    if args.traces is None and not (args.conversation and args.mooncake):
        parser.error("--traces is missing: the folder with the two traces; see --help")
    args.conversation = args.conversation or Path(args.traces) / CONVERSATION
    args.mooncake = args.mooncake or Path(args.traces) / MOONCAKE
    return args


def _measured(args: argparse.Namespace, seeds: Sequence[int]) -> list[dict[str, object]]:
    names = list(scenarios.cases(args.conversation, args.mooncake))
    jobs = [(name, seed) for seed in seeds for name in names]
    work = partial(_seed, args.conversation, args.mooncake, args.cold_start, args.only)
    results: list[dict[str, object]] = []
    with Pool(PROCESSES, initializer=os.nice, initargs=(NICE,)) as pool:
        for done, found in enumerate(pool.imap_unordered(work, jobs), 1):
            results += found
            print(f"\r{done}/{len(jobs)}", end="", file=sys.stderr, flush=True)
            if args.out:
                args.out.write_text(json.dumps(results))
    print(file=sys.stderr)
    return results


def _seed(
    conversation: Path, mooncake: Path, cold_start: float, only: str, job: tuple[str, int]
) -> list[dict[str, object]]:
    name, seed = job
    case = scenarios.cases(conversation, mooncake)[name]
    requests = case.workload.draw(random.Random(seed))
    return list(_all_laws(case, requests, cold_start, only, seed))


def _all_laws(
    case: scenarios.Case, requests: list[Request], cold_start: float, only: str, seed: int
) -> Iterator[dict[str, object]]:
    workload = case.workload
    setup = Setup(workload.engine, cold_start, initial_replicas=case.initial)
    chosen = [one for one in scenarios.contenders() if only in one.name]
    for contender in chosen:
        for request in requests:
            request.first = request.finished = inf
        rng = random.Random(seed)
        scaler = contender.make(scenarios.Occasion(case, setup, requests, rng))
        fleet = Fleet(setup, scaler, seed, WARM_SECONDS)
        run = fleet.run(requests, WARM_SECONDS + HOUR)
        yield {
            "law": contender.name,
            "kind": contender.kind,
            "workload": workload.name,
            "seed": seed,
            **asdict(measure.outcome(run, workload.engine)),
        }


def _lines(results: Sequence[dict[str, object]]) -> list[table.Line]:
    runs: dict[tuple[str, str], list[measure.Outcome]] = defaultdict(list)
    fields = measure.Outcome.__dataclass_fields__
    for row in results:
        outcome = measure.Outcome(**{key: row[key] for key in fields})  # type: ignore[arg-type]
        runs[str(row["law"]), str(row["workload"])].append(outcome)
    workloads = sorted({workload for _, workload in runs})
    return [
        table.Line(one.name, one.kind, {w: measure.mean(runs[one.name, w]) for w in workloads})
        for one in scenarios.contenders()
        if any(law == one.name for law, _ in runs)
    ]


if __name__ == "__main__":
    sys.exit(main())
