"""A request that no endpoint takes now: is it held, or refused at once, and what is it told?

Whether an endpoint takes it now is for `pick` to say, which comes first. Held requests cost memory,
so they are bounded for each model by its own queue, and for the whole gateway by a threshold that
moves: a model may hold at most as much as is still free (Choudhury and Hahne, "Dynamic queue length
thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998). One
model alone can fill half of the gateway, two a third each: there is room for another's, unless
bodies of a large part of all bytes happen to fill it to the last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from berth_gateway.routing.snapshot import Model

# Without an estimate: long enough not to poll, short enough to catch a pod that is nearly ready.
DEFAULT_RETRY_SECONDS: Final = 10
# The official OpenAI clients ignore a longer Retry-After and come back at once.
MAX_RETRY_SECONDS: Final = 60
# Taken off by chance, so that those who were refused together do not come back together.
RETRY_JITTER: Final = 0.2

_FAILED: Final = "Failed"  # status.phase


class Reason(str, Enum):
    """Why a request that was or would have been held is refused: a label of the metrics."""

    QUEUE_FULL = "queue_full"  # the model's own bound
    GATEWAY_FULL = "gateway_full"  # the model's share of what the gateway can hold
    NOTHING_TO_COME = "nothing_to_come"  # waiting would be in vain
    REPLACING = "replacing"  # spec.rollout.holdRequests is false
    WAITED = "waited"  # maxWaitSeconds are over
    VANISHED = "vanished"  # the model was deleted while the request was held
    LEAVING = "leaving"  # the gateway is


class Backlog(NamedTuple):
    """Held requests, and the bytes of their bodies."""

    requests: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    seconds: int  # at most


@dataclass(frozen=True, slots=True)
class Refused:
    reason: Reason
    message: str


def admit(
    model: Model, asked: int, mine: Backlog, whole: Backlog, bound: Backlog
) -> Hold | Refused:
    """For a body of `asked` bytes; `mine` is what the model holds, `whole` all models together."""
    return (
        hopeless(model) or _over(model, asked, mine, whole, bound) or Hold(model.max_wait_seconds)
    )


def readmit(model: Model) -> Hold | Refused:
    """For a request that has been held before, and that an endpoint then did not take."""
    return hopeless(model) or Hold(model.max_wait_seconds)


def hopeless(model: Model) -> Refused | None:
    """Without an endpoint, why none is going to come, and what to do about it."""
    if model.endpoints:
        return None
    if model.replacing and not model.hold_replacement:
        message = (
            f"the model {model.name} is being replaced, and its spec.rollout.holdRequests is "
            "false; try again later"
        )
        return Refused(Reason.REPLACING, message)
    why = next((told(model) for holds, told in _NEVER if holds(model)), None)
    return None if why is None else Refused(Reason.NOTHING_TO_COME, f"the model {why}")


# The first that holds of a model without endpoints is the reason why it will get none.
_NEVER: Final[tuple[tuple[Callable[[Model], bool], Callable[[Model], str]], ...]] = (
    (
        lambda model: not model.namespace,
        lambda model: f"{model.name} has no endpoint in the routes file; add one and restart",
    ),
    (
        lambda model: model.paused,
        lambda model: f"{model.name} is paused and has no replica; set spec.paused to false",
    ),
    (
        lambda model: model.fixed_replicas == 0,
        lambda model: (
            f"{model.name} has 0 replicas, and none comes by itself; raise "
            "spec.replicas, or set spec.scaling.mode to Auto"
        ),
    ),
    (
        lambda model: model.phase == _FAILED,
        lambda model: (
            f"{model.name} cannot be served ({model.reason or _FAILED}); its owner sees "
            f"why with: kubectl -n {model.namespace} describe modeldeployment {model.name}"
        ),
    ),
)


def _over(
    model: Model, asked: int, mine: Backlog, whole: Backlog, bound: Backlog
) -> Refused | None:
    """The bound that one more request would break."""
    if mine.requests >= model.max_pending:
        message = (
            f"{mine.requests} requests wait for the model {model.name} already, the most that its "
            "spec.queue.maxPending allows; try again later"
        )
        return Refused(Reason.QUEUE_FULL, message)
    fits = (
        mine.requests < bound.requests - whole.requests
        and mine.size + asked <= bound.size - whole.size
    )
    if fits:
        return None
    message = (
        f"{mine.requests} requests wait for the model {model.name} already, its share of what this "
        "gateway can hold; try again later"
    )
    return Refused(Reason.GATEWAY_FULL, message)


class Starts(NamedTuple):
    """What the gateway itself has measured of one model. Seconds."""

    last: float | None = None  # from the first held request to the first endpoint, the last time
    waking: float | None = None  # since the first held request, while there is no endpoint
    last_hold: float | None = None  # how long the request waited that was woken last


def estimate(model: Model, starts: Starts) -> float | None:
    """Seconds until a request that is held now goes on; None is unknown.

    The operator's estimate is of the very pod that loads; what the gateway measured is of another.
    """
    if model.endpoints:
        return starts.last_hold
    if model.eta_seconds is not None:
        return float(model.eta_seconds)
    if starts.last is None:
        return None
    return max(starts.last - (starts.waking or 0.0), 1.0)


def retry_after(seconds: float | None, chance: float) -> int:
    """Seconds for Retry-After; `chance` is from 0 to 1."""
    wait = DEFAULT_RETRY_SECONDS if seconds is None else min(seconds, MAX_RETRY_SECONDS)
    return max(round(wait * (1 - RETRY_JITTER * chance)), 1)
