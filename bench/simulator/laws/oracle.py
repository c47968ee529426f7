"""Two scalers that know more than can be known: what is left to win, not rivals.

The clairvoyant has read the future: it asks for replicas so that they serve when they are needed,
and gives one up only when it is not wanted again sooner than another would start. The other knows
the coming half minute, at once and without error, but may not ask before: no law without foresight
can do much better. How full they run their replicas is swept, as the other laws' targets are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from bench.simulator.engine import Engine, Request
from bench.simulator.fleet import START_SPREAD, View

BUCKET_SECONDS = 5.0
SMOOTH_BUCKETS = 6  # half a minute
HOLD_SECONDS = 120.0  # without foresight: the largest need of so long is kept


@dataclass(frozen=True)
class Settings:
    cold_start_seconds: float
    fill: float  # of a replica's time at the target concurrency
    target: int
    ahead: bool = True


def cost(engine: Engine, request: Request, concurrency: int) -> float:
    """Seconds of one replica that a request takes when it shares it with so many."""
    kv = request.prompt + request.answer / 2
    decoding = request.answer * (engine.step_seconds / concurrency + engine.kv_seconds * kv)
    return engine.work(request.prompt) * engine.prompt_seconds + decoding


def plan(requests: Sequence[Request], engine: Engine, settings: Settings) -> list[int]:
    """Replicas that must have been asked for, per bucket."""
    last = requests[-1].arrived
    work = [0.0] * (ceil(last / BUCKET_SECONDS) + 1)
    for request in requests:
        work[int(request.arrived / BUCKET_SECONDS)] += cost(engine, request, settings.target)
    before = SMOOTH_BUCKETS // 2 if settings.ahead else 0
    wanted = []
    for i in range(len(work)):
        window = work[max(0, i - before) : i - before + SMOOTH_BUCKETS]
        rate = sum(window) / (len(window) * BUCKET_SECONDS) if window else 0.0
        wanted.append(max(1, ceil(rate / settings.fill)))
    if not settings.ahead:
        hold = ceil(HOLD_SECONDS / BUCKET_SECONDS)
        return [max(wanted[max(0, i - hold) : i + 1]) for i in range(len(wanted))]
    ahead = ceil(settings.cold_start_seconds * (1 + START_SPREAD) / BUCKET_SECONDS)
    held = [max(wanted[i : i + ahead + 1]) for i in range(len(wanted))]
    return _bridged(held, ahead)


def _bridged(wanted: list[int], gap: int) -> list[int]:
    """Dips that are shorter than a start are not taken: a look back as long as the look ahead."""
    after = [max(wanted[i : i + gap + 1]) for i in range(len(wanted))]
    before = [max(wanted[max(0, i - gap) : i + 1]) for i in range(len(wanted))]
    return [min(a, b) for a, b in zip(after, before, strict=True)]


class Oracle:
    tick_seconds = 1.0
    delay_seconds = 0.0
    event_driven = False

    def __init__(self, schedule: Sequence[int]) -> None:
        self._schedule = schedule

    def look(self, view: View, current: int) -> int:
        del current
        return self._schedule[min(int(view.now / BUCKET_SECONDS), len(self._schedule) - 1)]
