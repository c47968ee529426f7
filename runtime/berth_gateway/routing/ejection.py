"""When an endpoint that keeps failing, or says that it is full, is left alone for a while.

Passive: what requests met. Kubernetes takes a dead pod out of its EndpointSlice only after its
probes have failed; until then the gateway has to stop choosing it by itself.

An ejection is for a fault, lasts, and never takes a model's last endpoint. A pause is for an
endpoint that cannot take this request now: a moment in which held requests do not knock at it over
and over, also where there is no other.
"""

from dataclasses import dataclass, replace
from typing import Final

from berth_gateway.errors import Failure

# Failures in a row that eject. One refused connection is proof enough; a reset may be the race
# between a keep-alive connection's reuse and its end. Others say nothing about the endpoint.
THRESHOLDS: Final = {Failure.CONNECT: 1, Failure.RESET: 3, Failure.MID_STREAM: 3}
FIRST_EJECTION_SECONDS: Final = 10.0
MAX_EJECTION_SECONDS: Final = 300.0

# The request has certainly not been served, and the next one would not be either.
PAUSES: Final = frozenset({Failure.CONNECT, Failure.BUSY})
FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 2.0
_MAX_DOUBLINGS: Final = 5  # 10 s * 2^5 and 0.1 s * 2^5 are above the maximum already


@dataclass(frozen=True, slots=True)
class Health:
    """What recent requests to one endpoint met; the default is one that has never failed."""

    failures: int = 0  # in a row
    ejections: int = 0  # in a row, without a success between them
    ejected_until: float = 0.0  # seconds on the caller's monotonic clock
    pauses: int = 0  # in a row
    paused_until: float = 0.0

    def ejected(self, now: float) -> bool:
        return now < self.ejected_until

    def paused(self, now: float) -> bool:
        return now < self.paused_until


def failed(health: Health, failure: Failure, now: float, *, last: bool = False) -> Health:
    """The health after one more failure. A success resets it to `Health()`.

    `last`: every other endpoint of the model is ejected.
    """
    if failure in PAUSES:
        health = _paused(health, now)
    threshold = THRESHOLDS.get(failure)
    if threshold is None or health.ejected(now):
        return health
    failures = health.failures + 1
    # After an ejection one failure is enough: the first request back is a probe.
    if last or (failures < threshold and health.ejections == 0):
        return replace(health, failures=failures)
    seconds = _doubled(FIRST_EJECTION_SECONDS, health.ejections, MAX_EJECTION_SECONDS)
    return replace(health, failures=0, ejections=health.ejections + 1, ejected_until=now + seconds)


def _paused(health: Health, now: float) -> Health:
    """Requests that were under way when the pause began do not make it longer."""
    if health.paused(now):
        return health
    seconds = _doubled(FIRST_PAUSE_SECONDS, health.pauses, MAX_PAUSE_SECONDS)
    return replace(health, pauses=health.pauses + 1, paused_until=now + seconds)


def _doubled(first: float, times: int, most: float) -> float:
    doubled: float = first * 2 ** min(times, _MAX_DOUBLINGS)
    return min(doubled, most)
