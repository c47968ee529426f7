"""What the counts of requests tell: their rate, where it goes, and what an answer takes.

Pure. Marks of the ever growing counts are kept for a few minutes, one a second; what changes slowly
is worked out with each of them and remembered. All times are seconds on one monotonic clock.
"""

from math import sqrt
from typing import Final, NamedTuple

MARK_SECONDS: Final = 1.0  # between two remembered moments
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


class Mark(NamedTuple):
    """The counts at one moment."""

    time: float
    arrivals: int
    answered: int
    busy: float  # request-seconds since the memory began
    served: float  # replica-seconds of those that serve


class Arrivals(NamedTuple):
    """What is remembered of the counts, and what was made of them at the last mark."""

    latest: Mark | None = None
    load: int = 0  # at the latest look
    ready: int = 0
    marks: tuple[Mark, ...] = ()  # one a second, at most MARKS
    alone: float | None = None  # seconds that an answer takes on an idle replica, as learned
    learned: int = 0  # measurements in it
    dispersion: float = 1.0  # variance of arrivals over their mean; Poisson's is 1
    rate: float = 0.0  # requests/s
    expected: float = 0.0  # requests/s by the long windows


class Counts(NamedTuple):
    """At one moment; `arrivals` and `answered` grow for ever."""

    time: float
    arrivals: int
    answered: int
    load: int
    ready: int


def anew(seen: Arrivals) -> Arrivals:
    """Without the counts: the next ones would differ from them by more than what came since."""
    return seen._replace(latest=None, marks=())


def remembered(seen: Arrivals, counts: Counts, target: int, ahead: float) -> Arrivals:
    """With `counts`. `target` is a replica's in requests, `ahead` what a new one takes to serve."""
    before, latest = seen.latest, _latest(seen, counts)
    marks = seen.marks
    if before and (latest.arrivals < before.arrivals or latest.answered < before.answered):
        marks = ()  # counts began anew
    seen = seen._replace(latest=latest, load=counts.load, ready=counts.ready)
    if marks and latest.time - marks[-1].time < MARK_SECONDS:
        return seen
    return _marked(seen, latest, marks, target, ahead)


def _marked(
    seen: Arrivals, latest: Mark, before: tuple[Mark, ...], target: int, ahead: float
) -> Arrivals:
    """Once a second: what changes slowly is worked out anew."""
    alone, learned = _learned(target, latest, before, seen.alone, seen.learned)
    dispersed = _dispersed(latest, before, seen.dispersion)
    marked = seen._replace(
        marks=(*before[1 - MARKS :], latest),
        alone=alone,
        learned=learned,
        dispersion=seen.dispersion + DISPERSION_SHARE * (dispersed - seen.dispersion),
    )
    return marked._replace(
        rate=_rate(marked),
        expected=max(_expected(marked, window, ahead) for window in TREND_SECONDS),
    )


def _latest(seen: Arrivals, counts: Counts) -> Mark:
    busy = served = 0.0
    if seen.latest is not None:
        passed = max(counts.time - seen.latest.time, 0.0)
        busy = seen.latest.busy + seen.load * passed
        served = seen.latest.served + seen.ready * passed
    return Mark(counts.time, counts.arrivals, counts.answered, busy, served)


def takes(seen: Arrivals, target: int) -> float | None:
    """Requests/s of a replica at its target, as it was learned; None: it was not yet."""
    return target / (seen.alone * (1 + CROWDING)) if seen.alone else None


def expected_rate(seen: Arrivals, ahead: float) -> float:
    """Requests/s once `ahead` seconds have passed: no less than now."""
    bursts = (_expected(seen, window, ahead) for window in BURST_SECONDS)
    return max(seen.rate, seen.expected, *bursts)


def _rate(seen: Arrivals) -> float:
    """Requests per second as the load stands."""
    latest, since = seen.marks[-1], _at(seen.marks, seen.marks[-1].time - RATE_SECONDS)
    passed = latest.time - since.time
    return (latest.arrivals - since.arrivals) / passed if passed >= BURST_SECONDS[0] else 0.0


def _expected(seen: Arrivals, window: float, ahead: float) -> float:
    """Requests per second that a window lets expect: its burst if certain, its trend drawn on."""
    latest, marks = seen.latest, seen.marks
    assert latest is not None  # noqa: S101 -- `remembered` has set it
    middle = _at(marks, latest.time - window)
    passed = latest.time - middle.time
    if passed < window / 2:
        return 0.0
    spread = sqrt(max(seen.dispersion, 1.0))
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
    reach = min(ahead + window / 2, TREND_WINDOWS * window)
    drawn_on = now + growth / ((passed + earlier_passed) / 2) * reach
    return max(certain, min(drawn_on, TREND_GROWTH * now))


def _goes_on(latest: Mark, marks: tuple[Mark, ...], middle: Mark, growth: float) -> bool:
    """Whether it grew within the recent window too: a step is over when it has been taken."""
    half = _at(marks, (latest.time + middle.time) / 2)
    if half.time in (latest.time, middle.time):
        return True
    later = (latest.arrivals - half.arrivals) / (latest.time - half.time)
    sooner = (half.arrivals - middle.arrivals) / (half.time - middle.time)
    return later - sooner > growth / 4


def _learned(
    target: int, latest: Mark, marks: tuple[Mark, ...], alone: float | None, learned: int
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
    crowd = (latest.busy - since.busy) / served / target
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


def _at(marks: tuple[Mark, ...], time: float) -> Mark:
    """The last mark not after `time`, or the first of all."""
    last = len(marks) - 1
    index = min(max(last - int((marks[-1].time - time) / MARK_SECONDS), 0), last)
    while index and marks[index].time > time:
        index -= 1
    while index < last and marks[index + 1].time <= time:
        index += 1
    return marks[index]
