"""When an endpoint that keeps failing is left alone for a while.

Passive: what requests met. Kubernetes takes a dead pod out of its EndpointSlice only after its
probes have failed; until then the gateway has to stop choosing it by itself.
"""

from dataclasses import dataclass
from typing import Final

from berth_gateway.errors import Failure

# Failures in a row that eject. One refused connection is proof enough; a reset may be the race
# between a keep-alive connection's reuse and its end. Others say nothing about the endpoint.
THRESHOLDS: Final = {Failure.CONNECT: 1, Failure.RESET: 3, Failure.MID_STREAM: 3}
FIRST_EJECTION_SECONDS: Final = 10.0
MAX_EJECTION_SECONDS: Final = 300.0
_MAX_DOUBLINGS: Final = 5  # 10 s * 2^5 is above the maximum already


@dataclass(frozen=True, slots=True)
class Health:
    """What recent requests to one endpoint met; the default is one that has never failed."""

    failures: int = 0  # in a row
    ejections: int = 0  # in a row, without a success between them
    ejected_until: float = 0.0  # seconds on the caller's monotonic clock

    def ejected(self, now: float) -> bool:
        return now < self.ejected_until


def failed(health: Health, failure: Failure, now: float) -> Health:
    """The health after one more failure. A success resets it to `Health()`."""
    threshold = THRESHOLDS.get(failure)
    if threshold is None or health.ejected(now):
        return health
    failures = health.failures + 1
    # After an ejection one failure is enough: the first request back is a probe.
    if failures < threshold and health.ejections == 0:
        return Health(failures=failures)
    doublings = min(health.ejections, _MAX_DOUBLINGS)
    seconds = min(FIRST_EJECTION_SECONDS * 2**doublings, MAX_EJECTION_SECONDS)
    return Health(ejections=health.ejections + 1, ejected_until=now + seconds)
