"""What a run cost and what it failed to do, in numbers that add up over runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import inf

from .engine import Engine
from .fleet import Run

# One limit for all: a first token within two seconds, or within three times what the prompt takes
# on a replica that does nothing else, as llm-d's WVA has it for its own.
FIRST_TOKEN_SECONDS = 2.0
ALONE_TIMES = 3.0


@dataclass(frozen=True)
class Outcome:
    requests: int
    late: int  # first token beyond the limit, or none at all
    failed: int  # no answer by the end, two minutes after the last arrival
    replica_seconds: float
    turns: int  # reversals of direction of the wanted number
    slowest_raise: float  # seconds from the first arrival that it could go by


def limit(engine: Engine, prompt: int) -> float:
    return max(FIRST_TOKEN_SECONDS, ALONE_TIMES * engine.alone(prompt))


def outcome(run: Run, engine: Engine) -> Outcome:
    late = sum(r.first - r.arrived > limit(engine, r.prompt) for r in run.requests)
    failed = sum(r.finished == inf for r in run.requests)
    changes = [wanted for _, wanted in run.changes]
    return Outcome(
        len(run.requests),
        late,
        failed,
        run.replica_seconds,
        turns(changes),
        max(run.waits, default=0.0),
    )


def turns(sizes: Sequence[int]) -> int:
    steps = [b - a for a, b in pairwise(sizes) if b != a]
    return sum((a > 0) != (b > 0) for a, b in pairwise(steps))


def mean(outcomes: Sequence[Outcome]) -> dict[str, float]:
    rows = [asdict(one) for one in outcomes]
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
