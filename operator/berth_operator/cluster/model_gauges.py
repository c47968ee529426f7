"""The models as Prometheus sees them, read from the cache when somebody scrapes.

A standby's cache is empty, so that only the leader tells, and a sum counts no replica twice.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from berth_operator.cluster.cache import Cache

_LABELS: Final = ("namespace", "model")


class ModelGauges(Collector):
    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[GaugeMetricFamily]:
        replicas = GaugeMetricFamily(
            "berth_model_replicas", "Replicas, by whether they serve.", labels=(*_LABELS, "state")
        )
        desired = GaugeMetricFamily(
            "berth_model_desired_replicas",
            "Replicas by the last decision, or by spec.replicas where Berth does not decide.",
            labels=_LABELS,
        )
        rollouts = GaugeMetricFamily(
            "berth_model_rollouts",
            "1 while a new revision takes over, or has been given up for the one before.",
            labels=(*_LABELS, "state"),
        )
        for key in self._cache.models():
            model = self._cache.model(key) or {}
            status = model.get("status", {})
            ready = status.get("readyReplicas") or 0
            unready = (status.get("replicas") or 0) - ready
            replicas.add_metric((*key, "ready"), ready)
            replicas.add_metric((*key, "unready"), max(unready, 0))
            desired.add_metric(key, _desired(model))
            blocked = "blockedRevision" in status
            rollouts.add_metric((*key, "running"), not blocked and _rolls_out(status))
            rollouts.add_metric((*key, "blocked"), blocked)
        yield from (replicas, desired, rollouts)


def _desired(model: Mapping[str, Any]) -> int:
    decided = model.get("status", {}).get("scaling", {}).get("desiredReplicas")
    wanted: int = model.get("spec", {}).get("replicas", 1) if decided is None else decided
    return wanted


def _rolls_out(status: Mapping[str, Any]) -> bool:
    current, update = (status.get(f"{one}Revision") for one in ("current", "update"))
    return None not in (current, update) and current != update
