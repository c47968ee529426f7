"""Has the engine stopped stepping while work is in flight? Pure.

vLLM's `/health` stays 200 with a deadlocked engine and times out on a busy one, so neither says.
"""

from dataclasses import dataclass, replace

from berth_server.metrics import Gauges


@dataclass(frozen=True)
class Watch:
    """When progress was last seen. Seconds are of any one monotonic clock."""

    since_seconds: float
    progress: float | None = None


def observe(watch: Watch, now_seconds: float, in_flight: int, gauges: Gauges | None) -> Watch:
    """The watch after one look; `gauges` is None if the engine did not answer.

    An engine that does not answer makes no progress, and one without work owes none. A metrics
    page without the counters proves nothing against the engine.
    """
    if gauges is None:
        return watch
    working = in_flight > 0 or (gauges.running or 0) + (gauges.waiting or 0) > 0
    moved = gauges.progress is None or gauges.progress != watch.progress
    if moved or not working:
        return Watch(since_seconds=now_seconds, progress=gauges.progress)
    return replace(watch, progress=gauges.progress)


def stalled_seconds(watch: Watch, now_seconds: float) -> float:
    return now_seconds - watch.since_seconds
