"""May a request for a known model go on now?

A third outcome, to hold the request until an endpoint is ready, joins these two.
"""

from dataclasses import dataclass
from typing import Final

from berth_gateway.routing.snapshot import Model

# Without an estimate: long enough not to poll, short enough to catch a pod that is nearly ready.
DEFAULT_RETRY_SECONDS: Final = 10
# The official OpenAI clients ignore a longer Retry-After and come back at once.
MAX_RETRY_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Admit:
    model: Model


@dataclass(frozen=True, slots=True)
class NotReady:
    retry_after_seconds: int
    message: str


def decide(model: Model) -> Admit | NotReady:
    if model.endpoints:
        return Admit(model)
    wait = DEFAULT_RETRY_SECONDS if model.eta_seconds is None else model.eta_seconds
    phase = f" (phase {model.phase})" if model.phase else ""
    return NotReady(
        retry_after_seconds=min(max(wait, 1), MAX_RETRY_SECONDS),
        message=f"the model {model.name} has no ready replica yet{phase}; try again later",
    )
