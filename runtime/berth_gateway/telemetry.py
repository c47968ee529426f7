"""The gateway's metrics. Labels hold model names of the snapshot only, never what a client sent."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

# Seconds to the first byte: from a cached 404 to a long prompt behind a full queue.
_FIRST_BYTE_BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
)  # fmt: skip


class _InFlight(Collector):
    """Read when scraped, so that a request pays nothing for it."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        total = sum(list(self._counts.values()))
        yield GaugeMetricFamily(
            "berth_gateway_requests_in_flight", "Requests at engines now.", value=total
        )


class Telemetry:
    def __init__(self, in_flight: Mapping[str, int]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_InFlight(in_flight))
        self._requests = Counter(
            "berth_gateway_requests",
            "Requests answered; code 499 is a client that left.",
            ("namespace", "model", "code"),
            registry=self.registry,
        )
        self._failures = Counter(
            "berth_gateway_upstream_failures",
            "Tries at an endpoint that gave no answer, or only a part of one.",
            ("namespace", "model", "reason"),
            registry=self.registry,
        )
        self._first_byte = Histogram(
            "berth_gateway_first_byte_seconds",
            "From the request's header to the answer's first byte.",
            ("namespace", "model"),
            buckets=_FIRST_BYTE_BUCKETS,
            registry=self.registry,
        )

    def answered(self, namespace: str, model: str, status: int) -> None:
        self._requests.labels(namespace, model, str(status)).inc()

    def failed(self, namespace: str, model: str, reason: str) -> None:
        self._failures.labels(namespace, model, reason).inc()

    def first_byte(self, namespace: str, model: str, seconds: float) -> None:
        self._first_byte.labels(namespace, model).observe(seconds)
