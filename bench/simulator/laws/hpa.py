"""KEDA and the HPA on one external metric of type AverageValue, with the HPA's default behaviour.

kubernetes/kubernetes `pkg/controller/podautoscaler/replica_calculator.go` and `horizontal.go`;
kedacore/keda `pkg/scaling/executor/scale_scaledobjects.go`. Sync every 15 s, tolerance 10 %; up by
4 pods or 100 % within 15 s, the larger; down after the largest of 300 s. KEDA polls every 30 s for
0 <-> 1 and answers the HPA's own calls with a fresh query; the metric behind it is scraped every
15 s. One replica at least: at zero the engine's metrics, which the trigger reads, do not exist.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil

from bench.simulator.fleet import View


@dataclass(frozen=True)
class Settings:
    target: float  # of the metric, per replica
    sync_seconds: float = 15.0
    scrape_seconds: float = 15.0
    tolerance: float = 0.1
    up_pods: int = 4
    up_percent: int = 100
    up_period_seconds: float = 15.0
    down_window_seconds: float = 300.0
    min_replicas: int = 1
    max_replicas: int = 16
    waiting_only: bool = False  # the metric counts those that wait alone


def wanted_for(total: float, target: float, replicas: int, tolerance: float) -> int:
    """Replicas for a sum over all, unless it is within tolerance of what there is."""
    if replicas and abs(1 - total / (target * replicas)) <= tolerance:
        return replicas
    return ceil(total / target)


class Behaviour:
    """The HPA's stabilisation and rate limits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recommended: deque[tuple[float, int]] = deque()
        self._raised: deque[tuple[float, int]] = deque()

    def limit(self, now: float, wanted: int, current: int) -> int:
        wanted = self._stabilised(now, wanted, current)
        if wanted > current:
            most = min(self._up_limit(now, current), self._settings.max_replicas)
            wanted = min(wanted, max(most, current))
            self._raised.append((now, wanted - current))
        return min(max(wanted, self._settings.min_replicas), self._settings.max_replicas)

    def _stabilised(self, now: float, wanted: int, current: int) -> int:
        window = self._recommended
        while window and window[0][0] <= now - self._settings.down_window_seconds:
            window.popleft()
        window.append((now, wanted))
        if wanted >= current:
            return wanted
        # Not more than there is now: this only slows the way down.
        return min(max(n for _, n in window), current)

    def _up_limit(self, now: float, current: int) -> int:
        raised = self._raised
        while raised and raised[0][0] <= now - self._settings.up_period_seconds:
            raised.popleft()
        before = current - sum(n for _, n in raised)
        percent = ceil(before * (1 + self._settings.up_percent / 100))
        return max(before + self._settings.up_pods, percent, current)


class KedaHpa:
    delay_seconds = 0.1
    event_driven = False

    def __init__(self, settings: Settings, phase: float) -> None:
        """`phase`, 0 to 1: how far the scrape lies behind the sync."""
        self._settings = settings
        self._behaviour = Behaviour(settings)
        self._scraped = 0.0
        self._scrape_next = phase * settings.scrape_seconds
        self._sync_next = settings.sync_seconds
        self.tick_seconds = 1.0

    def look(self, view: View, current: int) -> int:
        if view.now >= self._scrape_next:
            self._scrape_next += self._settings.scrape_seconds
            self._scraped = self._metric(view)
        if view.now < self._sync_next:
            return current
        self._sync_next += self._settings.sync_seconds
        wanted = wanted_for(self._scraped, self._settings.target, current, self._settings.tolerance)
        return self._behaviour.limit(view.now, wanted, current)

    def _metric(self, view: View) -> float:
        if not self._settings.waiting_only:
            return view.held + view.in_flight
        return view.held + sum(len(r.queue) + (r.prompt is not None) for r in view.replicas)
