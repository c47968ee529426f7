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

MARK_SECONDS: Final = 1.0  # between two remembered moments
LOOK_SECONDS: Final = 1.0  # between two looks while there is load
RATE_SECONDS: Final = 90.0  # the arrivals of so long are the load as it stands
# Bursts are looked for in each of these, and trends between each and the like one before it.
# The short ones at every look, the long ones, which do not change so fast, with every mark.
BURST_SECONDS: Final = (5.0, 10.0)
TREND_SECONDS: Final = (20.0, 40.0, 80.0)
MARKS: Final = 165  # two of the longest, and some
# A window is believed as far as chance would not explain it. These are standard deviations of
# Poisson arrivals, times what theirs are larger by (`dispersion`); windows overlap and are looked
# at ten times a second, so they are many.
BURST_DEVIATIONS: Final = 4.0
TREND_DEVIATIONS: Final = 5.0
BACKLOG_DEVIATIONS: Final = 8.0  # of as many requests as the ready replicas' targets
DISPERSION_SHARE: Final = 1 / 120  # of a new measurement, one a second
DISPERSION_MOST: Final = 25.0  # a burst is not what arrivals are like
TREND_WINDOWS: Final = 3.0  # a trend is drawn on for at most so many times what it was seen for
TREND_GROWTH: Final = 2.5  # and to at most so many times the present rate

LEARN_SECONDS: Final = 20.0  # what a replica takes is measured over so long
LEARN_SHARE: Final = 1 / 60  # of a new measurement, once there are many
LEARN_ANSWERS: Final = 5  # fewer measure nothing
BALANCE: Final = 0.25  # answers may differ from arrivals by this share, or the load is in motion
# An answer takes this much longer at the target than alone, as a share of alone: a target is set
# where a replica is busy and not yet swamped. Twice 1.5 or half of it moves the need by a sixth at
# half the target, and not at all at the target.
CROWDING: Final = 1.5
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
    clear_seconds: float = 60.0  # in which new replicas are to work off what had to wait for them


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


class Mark(NamedTuple):
    """The counts at one moment."""

    time: float
    arrivals: int
    answered: int
    busy: float  # request-seconds since the memory began
    served: float  # replica-seconds of those that serve


class Memory(NamedTuple):
    """What one decision hands to the next. A restarted operator begins with an empty one."""

    latest: Mark | None = None
    load: int = 0  # at the latest look
    ready: int = 0
    marks: tuple[Mark, ...] = ()  # one a second, at most MARKS
    peaks: tuple[tuple[float, int], ...] = ()  # (time, replicas), falling: the largest is first
    alone: float | None = None  # seconds that an answer takes on an idle replica, as learned
    learned: int = 0  # measurements in it
    dispersion: float = 1.0  # variance of arrivals over their mean; Poisson's is 1
    rate: float = 0.0  # requests/s, at the last mark
    expected: float = 0.0  # requests/s by the long windows, at the last mark
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
    memory = _remembered(law, signal, memory)
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
    """Without the counts: the next ones would differ from them by more than what came since."""
    return memory._replace(latest=None, marks=(), began=None)


def _remembered(law: Law, signal: Signal, memory: Memory) -> Memory:
    before, latest = memory.latest, _latest(signal, memory)
    marks = memory.marks
    if before and (latest.arrivals < before.arrivals or latest.answered < before.answered):
        marks = ()  # counts began anew
    memory = memory._replace(
        latest=latest,
        load=_load(signal),
        ready=signal.ready,
        began=latest.time if memory.began is None else memory.began,
    )
    if marks and latest.time - marks[-1].time < MARK_SECONDS:
        return memory
    return _marked(law, memory, latest, marks)


def _marked(law: Law, memory: Memory, latest: Mark, before: tuple[Mark, ...]) -> Memory:
    """Once a second: what changes slowly is worked out anew."""
    alone, learned = _learned(law, latest, before, memory.alone, memory.learned)
    dispersed = _dispersed(latest, before, memory.dispersion)
    marked = memory._replace(
        marks=(*before[1 - MARKS :], latest),
        alone=alone,
        learned=learned,
        dispersion=memory.dispersion + DISPERSION_SHARE * (dispersed - memory.dispersion),
    )
    return marked._replace(
        rate=_rate(marked),
        expected=max(_expected(law, marked, window) for window in TREND_SECONDS),
    )


def _latest(signal: Signal, memory: Memory) -> Mark:
    busy = served = 0.0
    if memory.latest is not None:
        passed = max(signal.now - memory.latest.time, 0.0)
        busy = memory.latest.busy + memory.load * passed
        served = memory.latest.served + memory.ready * passed
    return Mark(signal.now, signal.arrivals, signal.answered, busy, served)


def _at(marks: tuple[Mark, ...], time: float) -> Mark:
    """The last mark not after `time`, or the first of all."""
    last = len(marks) - 1
    index = min(max(last - int((marks[-1].time - time) / MARK_SECONDS), 0), last)
    while index and marks[index].time > time:
        index -= 1
    while index < last and marks[index + 1].time <= time:
        index += 1
    return marks[index]


def _learned(
    law: Law, latest: Mark, marks: tuple[Mark, ...], alone: float | None, learned: int
) -> tuple[float | None, int]:
    """How long an answer takes alone: the time it takes now, less what the company costs.

    By Little's law the time is the load over the rate of answers. It is measured where answers keep
    up with arrivals, or where replicas are swamped, which shows what they can do at most.
    """
    if not marks:
        return alone, learned
    since = _at(marks, latest.time - LEARN_SECONDS)
    answers = latest.answered - since.answered
    served = latest.served - since.served
    if answers < LEARN_ANSWERS or served <= 0 or latest.time - since.time < LEARN_SECONDS / 2:
        return alone, learned
    arrivals = latest.arrivals - since.arrivals
    crowd = (latest.busy - since.busy) / served / law.target_queue_depth
    if abs(arrivals - answers) > BALANCE * arrivals + sqrt(answers) and crowd < 2:  # noqa: PLR2004
        return alone, learned
    found = (latest.busy - since.busy) / answers / (1 + CROWDING * crowd)
    share = max(LEARN_SHARE, 1 / (learned + 1))
    return found if alone is None else alone + share * (found - alone), learned + 1


def _dispersed(latest: Mark, marks: tuple[Mark, ...], otherwise: float) -> float:
    """From two neighbouring windows, so that a rate which changes slowly does not count."""
    if not marks:
        return otherwise
    middle = _at(marks, latest.time - BURST_SECONDS[0])
    first = _at(marks, middle.time - BURST_SECONDS[0])
    recent, earlier = latest.arrivals - middle.arrivals, middle.arrivals - first.arrivals
    if recent + earlier == 0 or middle.time == first.time:
        return otherwise
    return min((recent - earlier) ** 2 / (recent + earlier), DISPERSION_MOST)


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
    bursts = (_expected(law, memory, window) for window in BURST_SECONDS)
    rate = memory.rate
    ahead_rate = max(rate, memory.expected, *bursts)
    if not memory.alone:
        by_queue = load / law.target_queue_depth
        return Need(rate, ahead_rate, None, by_queue, by_queue, ceil(by_queue))
    takes = law.target_queue_depth / (memory.alone * (1 + CROWDING))
    ahead = ahead_rate / takes
    backlog = _backlog(law, signal, takes, ahead_rate)
    return Need(rate, ahead_rate, takes, rate / takes, ahead, backlog)


def _rate(memory: Memory) -> float:
    """Requests per second as the load stands."""
    latest, since = memory.marks[-1], _at(memory.marks, memory.marks[-1].time - RATE_SECONDS)
    passed = latest.time - since.time
    return (latest.arrivals - since.arrivals) / passed if passed >= BURST_SECONDS[0] else 0.0


def _expected(law: Law, memory: Memory, window: float) -> float:
    """Requests per second that a window lets expect: its burst if certain, its trend drawn on."""
    latest, marks = memory.latest, memory.marks
    assert latest is not None  # noqa: S101 -- _remembered has set it
    middle = _at(marks, latest.time - window)
    passed = latest.time - middle.time
    if passed < window / 2:
        return 0.0
    spread = sqrt(max(memory.dispersion, 1.0))
    recent = latest.arrivals - middle.arrivals
    certain = max(0.0, recent - BURST_DEVIATIONS * spread * sqrt(recent)) / passed
    first = _at(marks, middle.time - window)
    earlier_passed = middle.time - first.time
    if earlier_passed < window / 2:
        return certain
    now, before = recent / passed, (middle.arrivals - first.arrivals) / earlier_passed
    growth = now - before
    chance = TREND_DEVIATIONS * spread * sqrt(now / passed + before / earlier_passed)
    if growth <= chance or not _goes_on(latest, marks, middle, growth):
        return certain
    ahead = min(law.cold_start_seconds + window / 2, TREND_WINDOWS * window)
    drawn_on = now + growth / ((passed + earlier_passed) / 2) * ahead
    return max(certain, min(drawn_on, TREND_GROWTH * now))


def _goes_on(latest: Mark, marks: tuple[Mark, ...], middle: Mark, growth: float) -> bool:
    """Whether it grew within the recent window too: a step is over when it has been taken."""
    half = _at(marks, (latest.time + middle.time) / 2)
    if half.time in (latest.time, middle.time):
        return True
    later = (latest.arrivals - half.arrivals) / (latest.time - half.time)
    sooner = (half.arrivals - middle.arrivals) / (half.time - middle.time)
    return later - sooner > growth / 4


def _backlog(law: Law, signal: Signal, takes: float, ahead_rate: float) -> int:
    """Replicas for those beyond the target that the present ones will not have served in time."""
    aimed_at = law.target_queue_depth * signal.ready
    over = _load(signal) - aimed_at
    spare_rate = (signal.ready + signal.starting) * takes * SATURATION - ahead_rate
    if over <= BACKLOG_DEVIATIONS * sqrt(aimed_at) or spare_rate * law.cold_start_seconds >= over:
        return 0
    return ceil((ahead_rate + over / law.clear_seconds) / takes)


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
