"""llm-d's Workload Variant Autoscaler, its saturation law: one more or one fewer at a time.

llm-d/llm-d-workload-variant-autoscaler `internal/saturation/analyzer.go`; thresholds in
`charts/workload-variant-autoscaler/values.yaml` (KV 0.80, queue 5, spare 0.10 and 3), a look every
30 s, then the HPA's sync of 15 s that carries it out. One variant, so its choice among them is not
here. It has no target of its own per replica: it goes by the engine's gauges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.simulator.engine import Engine
from bench.simulator.fleet import Gauge, View


@dataclass(frozen=True)
class Settings:
    kv_threshold: float = 0.80
    queue_threshold: float = 5.0
    kv_spare: float = 0.10
    queue_spare: float = 3.0
    interval_seconds: float = 30.0
    sync_seconds: float = 15.0


@dataclass(frozen=True)
class Analysis:
    up: bool
    down_is_safe: bool
    unsaturated: int


def analyse(gauges: Sequence[Gauge], settings: Settings) -> Analysis:
    if not gauges:
        return Analysis(up=False, down_is_safe=False, unsaturated=0)
    free = [
        g
        for g in gauges
        if g.kv_use < settings.kv_threshold and g.waiting < settings.queue_threshold
    ]
    count = len(free)
    kv = sum(settings.kv_threshold - g.kv_use for g in free) / count if count else 0.0
    queue = sum(settings.queue_threshold - g.waiting for g in free) / count if count else 0.0
    up = kv < settings.kv_spare or queue < settings.queue_spare
    return Analysis(up, _down_is_safe(count, kv, queue, settings), count)


def _down_is_safe(count: int, kv: float, queue: float, settings: Settings) -> bool:
    """Whether the spare would do if one fewer carried the same load."""
    if count < 2:  # noqa: PLR2004 -- its own minimum
        return False
    share = count / (count - 1)
    kv_left = settings.kv_threshold - (settings.kv_threshold - kv) * share
    queue_left = settings.queue_threshold - (settings.queue_threshold - queue) * share
    return kv_left >= settings.kv_spare and queue_left >= settings.queue_spare


def target(analysis: Analysis, reporting: int, current: int) -> int:
    """Nothing while a change is under way."""
    if not reporting or reporting != current:
        return current
    if analysis.up:
        return reporting + 1
    if analysis.down_is_safe and reporting > 1:
        return reporting - 1
    return reporting


class Wva:
    tick_seconds = 1.0
    delay_seconds = 0.1
    event_driven = False

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._look_next = settings.interval_seconds
        self._sync_next = settings.sync_seconds
        self._target: int | None = None

    def look(self, view: View, current: int) -> int:
        if view.now >= self._look_next:
            self._look_next += self._settings.interval_seconds
            analysis = analyse(view.gauges(self._engine), self._settings)
            self._target = target(analysis, view.ready, current)
        if view.now < self._sync_next:
            return current
        self._sync_next += self._settings.sync_seconds
        return current if self._target is None else self._target
