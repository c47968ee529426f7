"""How many replicas a model should have now: the law that follows the queue.

Pure, and small enough to be run in simulated time beside other systems' laws (`bench/simulator`).
All times are seconds on one monotonic clock of the caller.

A queue says too late how many replicas are missing, and too much: it grows as long as they start.
So the law goes by arrivals. What one replica takes is learned from what it answers; the need is the
rate of arrivals over that, as it will be when a replica that is asked for now serves. The queue
counts where it would not be gone by then. Fewer come only after the largest need of the whole delay
allows it. `docs/design/0010-the-replica-law.md` has the reasons and what was tried.
"""

from dataclasses import dataclass, field
from math import ceil, inf, sqrt
from typing import Final, Literal, NamedTuple

from berth_operator.core.scaling import arrivals
from berth_operator.core.scaling.arrivals import BURST_SECONDS, Arrivals, Counts

Reason = Literal[
    "Steady",  # as many as the load needs
    "Busy",  # raised: the arrivals of the last minute and a half need more
    "Rising",  # raised: more will come before a new replica serves
    "Backlog",  # raised: those that wait would not be served before a new replica is there
    "Panic",  # not fewer: it was raised a moment ago
    "Activating",  # from zero, or not fewer: replicas start
    "HeldForDelay",  # fewer would do, but have not for the whole delay
    "Idle",  # lowered: fewer did for the whole delay
    "KeepAlive",  # nobody asks: the last replica stays until keepAlive is over, and then goes
    "AtMinimum",
    "AtMaximum",
    "NoRoom",  # the accelerators hold no more
    "DataIncomplete",  # not fewer; where it is a gateway that is not heard, more only from zero
]

LOOK_SECONDS: Final = 1.0  # between two looks while there is load
BACKLOG_DEVIATIONS: Final = 8.0  # of as many requests as the ready replicas' targets
CLEAR_SECONDS: Final = 60.0  # in which new replicas are to work off what had to wait for them
SATURATION: Final = 1.1  # a swamped replica answers so much more than one at its target
PANIC_SECONDS: Final = 60.0  # a burst is not over because it pauses
# In replicas: n are enough up to n + RAISE_ABOVE, and n + 1 are kept until n would have left
# LOWER_BELOW unused all the while. A load on the edge between two sizes moves nothing.
RAISE_ABOVE: Final = 0.25
LOWER_BELOW: Final = 0.3
POOLED: Final = 8.0  # replicas that have their headroom in each other


@dataclass(frozen=True)
class Law:
    """What a user asked for and what the plan says: constant while neither changes."""

    min_replicas: int
    max_replicas: int
    target_queue_depth: int  # requests per replica, running and waiting
    scale_down_delay_seconds: float  # n -> n - 1
    keep_alive_seconds: float | None  # last replica -> 0; None: for ever
    cold_start_seconds: float  # from the decision to the first token, as measured or planned
    room: int | None = None  # replicas in all that the accelerators have room for; None: not known
    headroom: float = 1.0  # kept for bursts by one busy replica, in replicas; less by many


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
    engines_known: bool = True  # every engine has told what it runs; else none is taken away
    epoch: int = 0  # another one: the counts are not to be compared with those before


class Memory(NamedTuple):
    """What one decision hands to the next. A restarted operator begins with an empty one."""

    seen: Arrivals = Arrivals()
    peaks: tuple[tuple[float, int], ...] = ()  # (time, replicas), falling: the largest is first
    began: float | None = None  # the first look with complete data
    raised: float = -inf
    asked: float | None = None  # when a request was last here
    arrivals: int = 0  # counted, at the latest look
    epoch: int = 0


@dataclass(frozen=True)
class Decision:
    replicas: int
    reason: Reason  # one word for programs
    message: str  # with the numbers that led to it
    memory: Memory = field(default_factory=Memory)
    look_again_seconds: float | None = None  # without any change of the signal


class Need(NamedTuple):
    """In replicas, not rounded, but for `backlog`."""

    rate: float  # requests/s
    ahead_rate: float  # when a replica that is asked for now serves
    takes: float | None  # requests/s of a replica at its target; None: not learned yet
    now: float
    ahead: float
    backlog: int


def decide(law: Law, signal: Signal, memory: Memory, current: int) -> Decision:
    """`current` is the number of replicas that is asked for now."""
    memory = _asked(signal, memory)
    if signal.epoch != memory.epoch:
        memory = _anew(memory)._replace(epoch=signal.epoch)
    if not signal.complete:
        return _blind(law, signal, memory, current)
    memory = _counted(law, signal, memory)
    need = _need(law, signal, memory)
    largest = ceil(_roomy(law, need.now) + LOWER_BELOW) if need.now else 0
    memory = memory._replace(peaks=_peaks(law, signal, memory, largest))
    wanted, reason = _raised(law, signal, need, current)
    if wanted <= current:
        wanted, reason = _lowered(law, signal, memory, wanted, current)
    replicas, reason = _bounded(law, wanted, reason, current)
    if replicas > current:
        memory = memory._replace(raised=signal.now)
    again = _look_again(law, signal, memory, replicas)
    return Decision(replicas, reason, _message(law, signal, need, reason), memory, again)


def _load(signal: Signal) -> int:
    return signal.held + signal.in_flight


def _blind(law: Law, signal: Signal, memory: Memory, current: int) -> Decision:
    """A gateway that is missing hides load, and its counts would look like a burst later."""
    memory = _anew(memory)
    wanted = max(current, min(_load(signal), 1))
    replicas, reason = _bounded(law, wanted, "DataIncomplete", current)
    message = f"{_load(signal)} requests at the gateways that have reported"
    return Decision(replicas, reason, message, memory, LOOK_SECONDS)


# What is remembered


def _asked(signal: Signal, memory: Memory) -> Memory:
    """Half the truth shows requests too; that nothing was seen in it does not restart keepAlive."""
    seen = memory.asked is None or _load(signal) or signal.arrivals > memory.arrivals
    return memory._replace(
        asked=signal.now if seen else memory.asked,
        arrivals=signal.arrivals,
    )


def _anew(memory: Memory) -> Memory:
    return memory._replace(seen=arrivals.anew(memory.seen), began=None)


def _counted(law: Law, signal: Signal, memory: Memory) -> Memory:
    counts = Counts(
        signal.now, signal.arrivals, signal.answered, load=_load(signal), ready=signal.ready
    )
    ahead = law.cold_start_seconds
    return memory._replace(
        seen=arrivals.remembered(memory.seen, counts, law.target_queue_depth, ahead),
        began=signal.now if memory.began is None else memory.began,
    )


def _peaks(
    law: Law, signal: Signal, memory: Memory, replicas: int
) -> tuple[tuple[float, int], ...]:
    """The replicas that the delay's load needed, without those that a later need exceeds."""
    from_then = signal.now - law.scale_down_delay_seconds
    kept = tuple(peak for peak in memory.peaks if peak[0] > from_then and peak[1] > replicas)
    return (*kept, (signal.now, replicas))


# What is needed


def _need(law: Law, signal: Signal, memory: Memory) -> Need:
    load = _load(signal)
    rate, ahead_rate = memory.seen.rate, arrivals.expected_rate(memory.seen, law.cold_start_seconds)
    takes = arrivals.takes(memory.seen, law.target_queue_depth)
    if takes is None:
        by_queue = load / law.target_queue_depth
        return Need(rate, ahead_rate, None, by_queue, by_queue, ceil(by_queue))
    backlog = _backlog(law, signal, takes, ahead_rate)
    return Need(rate, ahead_rate, takes, rate / takes, ahead_rate / takes, backlog)


def _backlog(law: Law, signal: Signal, takes: float, ahead_rate: float) -> int:
    """Replicas for those beyond the target that the present ones will not have served in time."""
    aimed_at = law.target_queue_depth * signal.ready
    over = _load(signal) - aimed_at
    spare_rate = (signal.ready + signal.starting) * takes * SATURATION - ahead_rate
    if over <= BACKLOG_DEVIATIONS * sqrt(aimed_at) or spare_rate * law.cold_start_seconds >= over:
        return 0
    return ceil((ahead_rate + over / CLEAR_SECONDS) / takes)


def _roomy(law: Law, need: float) -> float:
    """With its headroom: as much again for one busy replica, less for many, none for POOLED."""
    return need + law.headroom * min(need, 1.0) * max(0.0, 1 - need / POOLED)


# What is done about it


def _raised(law: Law, signal: Signal, need: Need, current: int) -> tuple[int, Reason]:
    steady = ceil(_roomy(law, need.now) - RAISE_ABOVE)
    ahead = ceil(_roomy(law, need.ahead) - RAISE_ABOVE)
    wanted = max(steady, ahead, need.backlog, 1 if _load(signal) else 0)
    if not current:
        return wanted, "Activating"
    if need.backlog == wanted and need.backlog > max(steady, ahead):
        return wanted, "Backlog"
    if ahead > steady:
        return wanted, "Rising"
    return wanted, "Busy" if need.takes else "Backlog"


def _lowered(
    law: Law, signal: Signal, memory: Memory, wanted: int, current: int
) -> tuple[int, Reason]:
    """`wanted` is not more than there is."""
    fewer, reason = _fewer(law, signal, memory, wanted, current)
    if fewer < current and not signal.engines_known:
        return current, "DataIncomplete"
    return fewer, reason


def _fewer(
    law: Law, signal: Signal, memory: Memory, wanted: int, current: int
) -> tuple[int, Reason]:
    """As far as the gateways know."""
    if not _load(signal) and not law.min_replicas and _is_over(law, signal, memory):
        return 0, "KeepAlive"
    if signal.starting:
        return current, "Activating"
    if max(wanted, memory.peaks[-1][1]) >= current:
        return current, "Steady"
    if signal.now - memory.raised < PANIC_SECONDS:
        return current, "Panic"
    began = signal.now if memory.began is None else memory.began
    # Before there is a rate, a busy model looks idle.
    known = signal.now - began >= max(law.scale_down_delay_seconds, BURST_SECONDS[0])
    peak = max(memory.peaks[0][1], wanted, 1) if known else current
    if peak >= current:
        return current, "KeepAlive" if current == 1 and not wanted else "HeldForDelay"
    return peak, "Idle"


def _is_over(law: Law, signal: Signal, memory: Memory) -> bool:
    """Whether nobody has asked for the whole of keepAlive.

    Who gave up waiting for the first replica may ask again once it can be there.
    """
    if law.keep_alive_seconds is None:
        return False
    start = law.cold_start_seconds if signal.starting and not signal.ready else 0.0
    return _idle_for(signal, memory) >= law.keep_alive_seconds + start


def _idle_for(signal: Signal, memory: Memory) -> float:
    return signal.now - (signal.now if memory.asked is None else memory.asked)


def _bounded(law: Law, wanted: int, reason: Reason, current: int) -> tuple[int, Reason]:
    if wanted < law.min_replicas:
        return law.min_replicas, "AtMinimum"
    # One pod that waits for a place is what an autoscaler, preemption and a fallback go by.
    room = law.max_replicas if law.room is None else max(law.room, law.min_replicas, current, 1)
    if wanted > min(room, law.max_replicas):
        return min(room, law.max_replicas), "AtMaximum" if room >= law.max_replicas else "NoRoom"
    return wanted, reason


def _look_again(law: Law, signal: Signal, memory: Memory, replicas: int) -> float | None:
    """When time alone may change the answer; None: only a request can."""
    if _load(signal) or signal.starting:
        return LOOK_SECONDS
    if replicas > max(law.min_replicas, 1):
        return LOOK_SECONDS
    if replicas <= law.min_replicas or law.keep_alive_seconds is None:
        return None
    return max(law.keep_alive_seconds - _idle_for(signal, memory), LOOK_SECONDS)


def _message(law: Law, signal: Signal, need: Need, reason: Reason) -> str:
    load = f"{_load(signal)} requests ({signal.held} held), {need.rate:.2f}/s"
    if reason == "DataIncomplete":
        return f"{load}; a replica does not tell what it runs"
    if need.takes is None:
        return f"{load}, {law.target_queue_depth} per replica"
    rising = f", {need.ahead_rate:.2f}/s expected" if need.ahead_rate > need.rate else ""
    return f"{load}{rising}, a replica takes {need.takes:.2f}/s: {need.ahead:.2f} needed"
