"""What has become of held requests, counted when somebody scrapes; `queue_gauges` has who waits.

A model that is deleted takes its counts with it.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from berth_gateway.state.queues import Line, Queues

_LABELS: Final = ("namespace", "model")


class QueueCounts(Collector):
    """Read by another thread than the queues': copies and single numbers only."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        lines = list(self._queues.lines.values())
        yield _waits(lines)
        yield _refused(lines)


def _waits(lines: list[Line]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "berth_gateway_held_seconds",
        "How long requests were held, whatever came of them.",
        labels=_LABELS,
    )
    for line in lines:
        labels = (line.model.namespace, line.model.name)
        family.add_metric(labels, line.waits.cumulative(), sum_value=line.waits.total)
    return family


def _refused(lines: list[Line]) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "berth_gateway_refused",
        "Requests that were not held, or not until they had a replica.",
        labels=(*_LABELS, "reason"),
    )
    for line in lines:
        for reason, count in line.refused.copy().items():
            family.add_metric((line.model.namespace, line.model.name, reason.value), count)
    return family
