"""Hypothesis for a length of time instead of a number of examples.

A target's examples come in rounds, each with its number as the seed: every run starts with the
same ones, and one that is given longer only goes further.
"""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings

# For all targets together: what a change waits for. A night has BERTH_FUZZ_SECONDS=28800.
SECONDS = float(os.environ.get("BERTH_FUZZ_SECONDS") or 150)
EXAMPLES_OF_A_ROUND = 100
# Of one example. Nothing that is read here takes a hundredth of it on a quiet machine; a loop over a
# stranger's number, or a pattern that backtracks, takes far longer.
EXAMPLE_SECONDS = 20

_PHASES = (Phase.explicit, Phase.generate, Phase.target, Phase.shrink)


def rounds() -> Any:
    """The settings of a target."""
    return settings(
        max_examples=EXAMPLES_OF_A_ROUND,
        deadline=timedelta(seconds=EXAMPLE_SECONDS),
        derandomize=False,
        database=None,
        phases=_PHASES,
        print_blob=True,
        verbosity=Verbosity.normal,
        suppress_health_check=list(HealthCheck),
    )


def for_seconds(seconds: float, target: Callable[[], None]) -> int:
    """Rounds of `target` until the time is over, one at least; returns how many it were."""
    until, number = time.monotonic() + seconds, 0
    while number == 0 or time.monotonic() < until:
        seed(number)(target)()
        number += 1
    return number
