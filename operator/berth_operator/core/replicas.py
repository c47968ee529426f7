"""How many replicas a model should have now: the law that follows the queue.

Pure, and small enough to be run in simulated time beside other systems' laws (`bench/simulator`).
All times are seconds on one monotonic clock of the caller.
"""

from dataclasses import dataclass, field
from math import ceil


@dataclass(frozen=True)
class Law:
    """What a user asked for and what the plan says: constant while neither changes."""

    min_replicas: int
    max_replicas: int
    target_queue_depth: int  # requests per replica, running and waiting
    scale_down_delay_seconds: float  # n -> n - 1
    keep_alive_seconds: float | None  # last replica -> 0; None: for ever
    cold_start_seconds: float  # from the decision to the first token, as measured or planned
    room: int | None = None  # replicas that the accelerators have room for; None: not known


@dataclass(frozen=True)
class Signal:
    """The load at one moment, over all gateways and engines."""

    now: float
    held: int  # requests that wait in gateways
    in_flight: int  # requests at replicas, running and waiting
    arrivals: int  # counted, ever growing
    answered: int  # counted, ever growing
    ready: int  # replicas that serve
    starting: int  # replicas that were asked for and do not serve yet
    complete: bool = True  # every gateway has reported


@dataclass(frozen=True)
class Memory:
    """What one decision hands to the next. A restarted operator begins with an empty one."""

    samples: tuple[tuple[float, int], ...] = ()  # (time, replicas that the load would need)


@dataclass(frozen=True)
class Decision:
    replicas: int
    reason: str  # one word for programs
    message: str  # with the numbers that led to it
    memory: Memory = field(default_factory=Memory)
    look_again_seconds: float | None = None  # without any change of the signal


def decide(law: Law, signal: Signal, memory: Memory, current: int) -> Decision:
    """`current` is the number of replicas that is asked for now."""
    load = signal.held + signal.in_flight
    wanted = min(max(ceil(load / law.target_queue_depth), law.min_replicas), law.max_replicas)
    message = f"{load} requests, {law.target_queue_depth} per replica"
    return Decision(max(wanted, current), "QueueDepth", message, memory)
