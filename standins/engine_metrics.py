"""The engine's Prometheus page: vLLM 0.32's names, labels and buckets.

Counted in plain integers by whoever steps the engine, and put into families only when asked for:
a histogram takes a whole step's tokens in one call.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from standins.engine_steps import Asked, Scheduler, Step

# vllm/v1/metrics/buckets.py
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20,
         40, 80, 160, 640, 2560)  # fmt: skip
_TOKEN_GAP = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20,
              40, 80)  # fmt: skip
_LATENCY = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920,
            7680)  # fmt: skip
_ITERATION = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
FINISHED = ("stop", "length", "abort", "error", "repetition")
REJECTED = ("max_num_queued_reqs", "max_num_queued_tokens")
_LABELS = ("engine", "model_name")


def _one_two_five(limit: int) -> tuple[float, ...]:
    """Buckets of token counts: 1, 2, 5, 10, ... up to the context length."""
    return tuple(
        digit * 10**power
        for power in range(len(str(limit)))
        for digit in (1, 2, 5)
        if digit * 10**power <= limit
    )


class Histogram:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def family(self, name: str, labels: tuple[str, str]) -> HistogramMetricFamily:
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), total))
        family = HistogramMetricFamily(name, f"Histogram of {name}.", labels=_LABELS)
        family.add_metric(labels, buckets, self._sum)
        return family


@dataclass(slots=True)
class Times:
    """Of one request, in seconds of the engine's clock."""

    arrived: float
    started: float = 0.0
    first: float = 0.0
    last: float = 0.0


@dataclass
class Measured:
    """Everything on the page that the scheduler's own totals do not hold."""

    max_model_len: int
    started_at: float  # Unix time, of the `_created` twins
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISHED, 0))
    rejected: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REJECTED, 0))
    histograms: dict[str, Histogram] = field(init=False)

    def __post_init__(self) -> None:
        tokens = _one_two_five(self.max_model_len)
        bounds = {
            "vllm:time_to_first_token_seconds": _TTFT,
            "vllm:inter_token_latency_seconds": _TOKEN_GAP,
            "vllm:request_time_per_output_token_seconds": _TOKEN_GAP,
            "vllm:e2e_request_latency_seconds": _LATENCY,
            "vllm:request_queue_time_seconds": _LATENCY,
            "vllm:request_prefill_time_seconds": _LATENCY,
            "vllm:request_decode_time_seconds": _LATENCY,
            "vllm:request_inference_time_seconds": _LATENCY,
            "vllm:request_prompt_tokens": tokens,
            "vllm:request_generation_tokens": tokens,
            "vllm:iteration_tokens_total": _ITERATION,
        }
        self.histograms = {name: Histogram(one) for name, one in bounds.items()}

    def observe(self, name: str, value: float, times: int = 1) -> None:
        self.histograms["vllm:" + name].observe(value, times)

    def stepped(self, step: Step) -> None:
        self.observe("iteration_tokens_total", step.work.prefill_tokens + step.work.decode_tokens)

    def ended(self, asked: Asked, times: Times, reason: str) -> None:
        self.finished[reason] += 1
        decoding = times.last - times.first
        self.observe("e2e_request_latency_seconds", times.last - times.arrived)
        self.observe("request_queue_time_seconds", times.started - times.arrived)
        self.observe("request_prefill_time_seconds", times.first - times.started)
        self.observe("request_decode_time_seconds", decoding)
        self.observe("request_inference_time_seconds", times.last - times.started)
        self.observe("request_prompt_tokens", asked.prompt)
        self.observe("request_generation_tokens", asked.produced)
        if asked.produced > 1:
            gap = decoding / (asked.produced - 1)
            self.observe("request_time_per_output_token_seconds", gap)


@dataclass(frozen=True, eq=False)
class Page(Collector):
    scheduler: Scheduler
    measured: Measured
    model: str
    kv_cache_bytes: int
    waiting: int  # requests that the scheduler has not seen yet

    def text(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()
        yield from self._counters()
        for name, histogram in self.measured.histograms.items():
            yield histogram.family(name, self._labels)
        yield self._cache()

    @property
    def _labels(self) -> tuple[str, str]:
        return ("0", self.model)

    def _gauges(self) -> Iterator[Metric]:
        cache = self.scheduler.cache
        waiting = len(self.scheduler.waiting) + self.waiting
        yield self._gauge("num_requests_running", len(self.scheduler.running))
        yield self._gauge("num_requests_waiting", waiting)
        reasons = GaugeMetricFamily(
            "vllm:num_requests_waiting_by_reason", "By reason.", labels=(*_LABELS, "reason")
        )
        reasons.add_metric((*self._labels, "capacity"), waiting)
        reasons.add_metric((*self._labels, "deferred"), 0)
        yield reasons
        yield self._gauge("kv_cache_usage_perc", cache.held / cache.size)

    def _counters(self) -> Iterator[Metric]:
        totals = self.scheduler.totals
        yield self._counter("prompt_tokens", totals.prompt)
        yield self._counter("prompt_tokens_cached", totals.cached)
        yield self._counter("generation_tokens", totals.generated)
        yield self._counter("prefix_cache_queries", totals.queried)
        yield self._counter("prefix_cache_hits", totals.cached)
        yield self._counter("num_preemptions", totals.preemptions)
        finished = self._family("request_success", "finished_reason")
        for reason, count in self.measured.finished.items():
            finished.add_metric((*self._labels, reason), count, created=self.measured.started_at)
        yield finished
        # The only one of vLLM's without the engine's label.
        rejected = CounterMetricFamily(
            "vllm:admission_rejections", "By reason.", labels=("model_name", "reason")
        )
        for reason, count in self.measured.rejected.items():
            rejected.add_metric((self.model, reason), count, created=self.measured.started_at)
        yield rejected

    def _gauge(self, name: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"vllm:{name}", f"Gauge of {name}.", labels=_LABELS)
        family.add_metric(self._labels, value)
        return family

    def _counter(self, name: str, value: float) -> CounterMetricFamily:
        family = self._family(name)
        family.add_metric(self._labels, value, created=self.measured.started_at)
        return family

    def _family(self, name: str, *more: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"vllm:{name}", f"Count of {name}.", labels=(*_LABELS, *more))

    def _cache(self) -> GaugeMetricFamily:
        limits = self.scheduler.limits
        fields = {
            "block_size": limits.block_tokens,
            "cache_dtype": "auto",
            "enable_prefix_caching": limits.prefix_caching,
            "engine": 0,
            "kv_cache_max_concurrency": limits.blocks
            * limits.block_tokens
            / self.measured.max_model_len,
            "kv_cache_memory_bytes": self.kv_cache_bytes,
            "kv_cache_size_tokens": limits.blocks * limits.block_tokens,
            "num_gpu_blocks": limits.blocks,
        }
        family = GaugeMetricFamily(
            "vllm:cache_config_info", "Information of the LLMEngine CacheConfig", labels=[*fields]
        )
        family.add_metric([str(value) for value in fields.values()], 1)
        return family
