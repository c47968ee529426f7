"""Knative's pod autoscaler: concurrency over a stable minute, and over six seconds in a panic.

knative/serving `pkg/autoscaler/scaling/autoscaler.go`, `pkg/autoscaler/aggregation/bucketing.go`;
defaults in `config/core/configmaps/autoscaler.yaml`: target utilisation 70 %, stable window 60 s,
panic window 10 % of it, panic at 200 % of what is ready, at most x1000 up and /2 down at a time.
The autoscaler looks every 2 s and scrapes every second.
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice
from math import ceil, floor

from bench.simulator.fleet import View


@dataclass(frozen=True)
class Settings:
    target: float  # concurrent requests per replica, before utilisation
    utilisation: float = 0.7
    stable_seconds: float = 60.0
    panic_seconds: float = 6.0
    panic_threshold: float = 2.0
    max_up: float = 1000.0
    max_down: float = 2.0
    scale_down_delay_seconds: float = 0.0

    @property
    def per_replica(self) -> float:
        return self.target * self.utilisation


class Decider:
    """One decision from the two averages: `Scale` without its metrics and burst capacity."""

    def __init__(self, settings: Settings, ready: int = 0) -> None:
        self._settings = settings
        # One that starts with several replicas starts in a panic, so that it takes none away.
        self._panic_since: float | None = 0.0 if ready > 1 else None
        self._panic_peak = ready
        self._delayed: deque[tuple[float, int]] = deque()

    def decide(self, now: float, stable: float, panic: float, ready: int) -> int:
        settings = self._settings
        base = max(1, ready)
        most = ceil(settings.max_up * base)
        least = floor(base / settings.max_down)
        stable_wanted = ceil(stable / settings.per_replica)
        panic_wanted = ceil(panic / settings.per_replica)
        self._feel(now, panic_wanted / base >= settings.panic_threshold)
        wanted = min(max(stable_wanted, least), most)
        if self._panic_since is not None:
            self._panic_peak = max(self._panic_peak, wanted, min(max(panic_wanted, least), most))
            wanted = self._panic_peak
        return self._delay(now, wanted)

    @property
    def in_panic(self) -> bool:
        return self._panic_since is not None

    def _feel(self, now: float, over: bool) -> None:
        if over:
            self._panic_since = now
        elif (
            self._panic_since is not None
            and self._panic_since + self._settings.stable_seconds < now
        ):
            self._panic_since = None
            self._panic_peak = 0

    def _delay(self, now: float, wanted: int) -> int:
        """The largest of the last scale-down delay."""
        delay = self._settings.scale_down_delay_seconds
        if not delay:
            return wanted
        while self._delayed and self._delayed[0][0] <= now - delay:
            self._delayed.popleft()
        self._delayed.append((now, wanted))
        return max(n for _, n in self._delayed)


class Knative:
    tick_seconds = 1.0  # scrapes; looks at every second one
    delay_seconds = 0.1
    event_driven = False

    def __init__(self, settings: Settings, ready: int) -> None:
        self._decider = Decider(settings, ready)
        self._stable: deque[float] = deque(maxlen=round(settings.stable_seconds))
        self._panic_size = round(settings.panic_seconds)
        self._ticks = 0

    def look(self, view: View, current: int) -> int:
        self._stable.append(view.held + view.in_flight)
        self._ticks += 1
        if self._ticks % 2:
            return current
        recent = list(islice(reversed(self._stable), self._panic_size))
        stable = sum(self._stable) / len(self._stable)
        return self._decider.decide(view.now, stable, sum(recent) / len(recent), view.ready)
