"""The gateway's metrics. Labels hold model names and key ids, never what a client sent.

A request adds to plain numbers, which costs a tenth of what the client library's counters do; the
library's shapes are made of them when somebody scrapes, on another thread. Each copy of a
dictionary is one step of the interpreter, so a scrape never meets one that grows.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from berth_gateway.histogram import Histogram
from berth_gateway.routing.usage import Usage

Labels = tuple[str, ...]


class Telemetry(Collector):
    def __init__(self, in_flight: Mapping[str, int]) -> None:
        self._in_flight = in_flight
        self._requests: dict[Labels, int] = defaultdict(int)
        self._key_requests: dict[Labels, int] = defaultdict(int)
        self._rate_limited: dict[Labels, int] = defaultdict(int)
        self._failures: dict[Labels, int] = defaultdict(int)
        self._prompt_tokens: dict[Labels, int] = defaultdict(int)
        self._completion_tokens: dict[Labels, int] = defaultdict(int)
        self._first_byte: dict[Labels, Histogram] = defaultdict(Histogram)
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def answered(self, namespace: str, model: str, status: int, key_id: str = "") -> None:
        self._requests[namespace, model, str(status)] += 1
        if model and key_id:
            self._key_requests[namespace, model, key_id] += 1

    def rate_limited(self, key_id: str) -> None:
        self._rate_limited[key_id,] += 1

    def failed(self, namespace: str, model: str, reason: str) -> None:
        self._failures[namespace, model, reason] += 1

    def first_byte(self, namespace: str, model: str, seconds: float) -> None:
        self._first_byte[namespace, model].observe(seconds)

    def used(self, namespace: str, model: str, key_id: str, usage: Usage) -> None:
        labels = (namespace, model, key_id)
        self._prompt_tokens[labels] += usage.prompt_tokens
        self._completion_tokens[labels] += usage.completion_tokens

    def collect(self) -> Iterator[Metric]:
        total = sum(list(self._in_flight.values()))
        yield GaugeMetricFamily(
            "berth_gateway_requests_in_flight", "Requests at engines now.", value=total
        )
        for name, words, labels, counts in (
            (
                "requests",
                "Requests answered; code 499 is a client that left.",
                ("namespace", "model", "code"),
                self._requests,
            ),
            (
                "key_requests",
                "Requests answered, by the API key that asked.",
                ("namespace", "model", "key"),
                self._key_requests,
            ),
            (
                "rate_limited",
                "Requests beyond what their API key allows.",
                ("key",),
                self._rate_limited,
            ),
            (
                "upstream_failures",
                "Tries at an endpoint that gave no answer, or only a part of one.",
                ("namespace", "model", "reason"),
                self._failures,
            ),
            (
                "prompt_tokens",
                "Tokens of prompts, as engines counted them.",
                ("namespace", "model", "key"),
                self._prompt_tokens,
            ),
            (
                "completion_tokens",
                "Tokens of answers, as engines counted them.",
                ("namespace", "model", "key"),
                self._completion_tokens,
            ),
        ):
            family = CounterMetricFamily(f"berth_gateway_{name}", words, labels=labels)
            for values, count in counts.copy().items():
                family.add_metric(values, count)
            yield family
        yield self._first_bytes()

    def _first_bytes(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "berth_gateway_first_byte_seconds",
            "From the request's header to the answer's first byte.",
            labels=("namespace", "model"),
        )
        for labels, histogram in self._first_byte.copy().items():
            family.add_metric(labels, histogram.cumulative(), sum_value=histogram.total)
        return family
