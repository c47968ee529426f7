"""The queues as Prometheus and foreign autoscalers see them, counted when somebody scrapes.

Every model of the snapshot has its series, at zero as well: to an autoscaler a series that is
missing is a failure, and no reason to take a replica away.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from berth_gateway.state.queues import Line, Queues

# By this one KEDA and HPAs scale; the others are for people.
QUEUE_DEPTH: Final = "berth_gateway_queue_depth"
_LABELS: Final = ("namespace", "model")


class QueueGauges(Collector):
    """Read by another thread than the queues': copies and single numbers only."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def collect(self) -> Iterator[GaugeMetricFamily]:
        lines = list(self._queues.lines.values())
        flying = in_flight(self._queues)
        ejected = self._queues.load.ejected()
        held = [len(line.held) for line in lines]
        yield _family(
            QUEUE_DEPTH,
            "Requests held, and in flight at engines: what replicas follow.",
            lines,
            [one + flying[line.model.key] for one, line in zip(held, lines, strict=True)],
        )
        yield _family(
            "berth_gateway_requests_held", "Requests that wait here for a replica.", lines, held
        )
        yield _family(
            "berth_gateway_oldest_held_seconds",
            "How long the first of them has waited.",
            lines,
            [self._queues.oldest_seconds(line) for line in lines],
        )
        yield _family(
            "berth_gateway_endpoints",
            "Replicas that take requests.",
            lines,
            [len(line.model.endpoints) for line in lines],
        )
        yield _family(
            "berth_gateway_endpoints_ejected",
            "Those of them that are left alone for a while, because they failed.",
            lines,
            [sum(one.key in ejected for one in line.model.endpoints) for line in lines],
        )


def in_flight(queues: Queues) -> Counter[str]:
    """By model key; endpoints that have left the snapshot and still answer are counted, too."""
    owners, found = queues.owners, Counter[str]()
    for key, count in queues.load.in_flight.copy().items():
        if key in owners:
            found[owners[key].model.key] += count
    return found


def _family(name: str, words: str, lines: list[Line], values: Sequence[float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=_LABELS)
    for line, value in zip(lines, values, strict=True):
        family.add_metric((line.model.namespace, line.model.name), value)
    return family
