"""From an order to the first token of an engine that compiles, with and without what was kept.

    BERTH_ENGINE_PYTHON=.../bin/python python3 -m bench.compiled_start [--rounds 3] [--model FOLDER]

Each round has two pods, one after the other: the first compiles, and the second, whose own cache is
empty as a new pod's is, has what the first has kept on the claim. Both have their imports done
before the order. Both must say the same words to the same question.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench import pool_start
from bench.engine import replica
from bench.pool_start import Start

FRESH, KEPT = "nothing kept", "kept by another pod"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a folder with weights")
    options = parser.parse_args()
    found: dict[str, list[Start]] = {FRESH: [], KEPT: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = options.model or pool_start.made_weights(folder)
        for turn in range(options.rounds):
            for kind, starts in found.items():
                starts.append(start(folder, weights, folder / f"claim-{turn}"))
                print(f"round {turn + 1}: {kind}: {starts[-1]}", file=sys.stderr, flush=True)
    pool_start.tell(found, beside=FRESH)
    return 0


def start(folder: Path, weights: Path, claim: Path) -> Start:
    """In a new pod, at the same paths as every other."""
    home = folder / "pod"
    shutil.rmtree(home, ignore_errors=True)
    python = replica.engine_python()
    with pool_start.pool(python, home, weights, warm=True, compiled=claim) as pod:
        return pool_start.ordered(pod)


if __name__ == "__main__":
    sys.exit(main())
