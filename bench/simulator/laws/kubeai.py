"""KubeAI: the mean of the active requests over ten minutes, over the target.

substratusai/kubeai `internal/modelautoscaler/autoscaler.go`, `internal/movingaverage/simple.go`,
`internal/modelclient/scale.go`; defaults in `charts/kubeai/values.yaml` (interval 10 s, window
10 min) and `api/k8s/v1/model_types.go` (scaleDownDelaySeconds 30).
"""

from dataclasses import dataclass
from math import ceil

from bench.simulator.fleet import View


@dataclass(frozen=True)
class Settings:
    target_requests: int
    interval_seconds: float = 10.0
    window_seconds: float = 600.0
    scale_down_delay_seconds: float = 30.0


class MovingAverage:
    """Over a fixed number of readings; those that were not taken yet count as they were seeded."""

    def __init__(self, seed: list[float]) -> None:
        self._history = list(seed)
        self._next = 0

    def add(self, value: float) -> None:
        self._history[self._next] = value
        self._next = (self._next + 1) % len(self._history)

    def mean(self) -> float:
        return sum(self._history) / len(self._history)


class KubeAI:
    delay_seconds = 0.1
    event_driven = False

    def __init__(self, settings: Settings) -> None:
        self.tick_seconds = settings.interval_seconds
        self._settings = settings
        readings = ceil(settings.window_seconds / settings.interval_seconds)
        self._average = MovingAverage([0.0] * readings)
        self._lower_needed = ceil(settings.scale_down_delay_seconds / settings.interval_seconds)
        self._lower_seen = 0

    def look(self, view: View, current: int) -> int:
        self._average.add(view.held + view.in_flight)
        return self.scale(ceil(self._average.mean() / self._settings.target_requests), current)

    def scale(self, wanted: int, current: int) -> int:
        """Fewer only after as many lower readings in a row as the delay has intervals."""
        if wanted >= current:
            self._lower_seen = 0
            return wanted
        if self._lower_seen < self._lower_needed:
            self._lower_seen += 1
            return current
        return wanted
