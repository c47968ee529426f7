"""What a look at a model and one at a pool have in common: how long it took, and what it did."""

import logging
import time
from collections.abc import Awaitable, Hashable, Iterable, Sequence

from berth_operator.core.observed import Refusal
from berth_operator.metrics import Metrics

Looked = tuple[str, float | None]
"""A look's result, for the metrics, and the seconds until the next one without any event."""


async def timed(metrics: Metrics, look: Awaitable[Looked]) -> float | None:
    """Counts the look, also one that fails; returns when the next is due."""
    started_at = time.perf_counter()
    result = "error"
    try:
        result, again_after = await look
    finally:
        seconds = time.perf_counter() - started_at
        metrics.reconcile_seconds.labels(result=result).observe(seconds)
    return again_after


def report(
    log: logging.Logger,
    key: Hashable,
    done: Iterable[str],
    refusals: Sequence[Refusal],
    **also: bool,
) -> str:
    """One line per look that did something; returns the result for the metrics.

    `also`: what there is else to tell, in one word, and whether it is so.
    """
    told = [
        *done,
        *(f"refused {one.kind}/{one.name}: {one.message}" for one in refusals),
        *(word for word, is_so in also.items() if is_so),
    ]
    if not told:
        return "rest"
    log.info("%s: %s", key, "; ".join(told))
    return "refused" if refusals else "changed"
