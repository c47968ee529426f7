"""The models as Prometheus sees them, read from the cache when somebody scrapes.

A standby's cache is empty, so that only the leader tells, and a sum counts no replica twice.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from berth_operator.cluster.cache import Cache, ModelKey

_LABELS: Final = ("namespace", "model")


class _Row(NamedTuple):
    """What one model's gauges show."""

    version: int
    ready: int
    unready: int
    desired: int
    running: bool
    blocked: bool


class ModelGauges(Collector):
    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._rows: dict[ModelKey, _Row] = {}  # a scrape reads anew only what has changed

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """A scrape that asks for others by name reads no model."""
        yield from _families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        replicas, desired, rollouts = _families()
        self._rows = {key: self._row(key) for key in self._cache.models()}
        for key, row in self._rows.items():
            replicas.add_metric((*key, "ready"), row.ready)
            replicas.add_metric((*key, "unready"), row.unready)
            desired.add_metric(key, row.desired)
            rollouts.add_metric((*key, "running"), row.running)
            rollouts.add_metric((*key, "blocked"), row.blocked)
        yield from (replicas, desired, rollouts)

    def _row(self, key: ModelKey) -> _Row:
        version, known = self._cache.model_version(key), self._rows.get(key)
        if known is not None and known.version == version:
            return known
        return _shown(version, self._cache.model(key) or {})


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily(
            "berth_model_replicas", "Replicas, by whether they serve.", labels=(*_LABELS, "state")
        ),
        GaugeMetricFamily(
            "berth_model_desired_replicas",
            "Replicas by the last decision, or by spec.replicas where Berth does not decide.",
            labels=_LABELS,
        ),
        GaugeMetricFamily(
            "berth_model_rollouts",
            "1 while a new revision takes over, or has been given up for the one before.",
            labels=(*_LABELS, "state"),
        ),
    )


def _shown(version: int, model: Mapping[str, Any]) -> _Row:
    status = model.get("status", {})
    ready = status.get("readyReplicas") or 0
    blocked = "blockedRevision" in status
    return _Row(
        version=version,
        ready=ready,
        unready=max((status.get("replicas") or 0) - ready, 0),
        desired=_desired(model),
        running=not blocked and _rolls_out(status),
        blocked=blocked,
    )


def _desired(model: Mapping[str, Any]) -> int:
    decided = model.get("status", {}).get("scaling", {}).get("desiredReplicas")
    wanted: int = model.get("spec", {}).get("replicas", 1) if decided is None else decided
    return wanted


def _rolls_out(status: Mapping[str, Any]) -> bool:
    current, update = (status.get(f"{one}Revision") for one in ("current", "update"))
    return None not in (current, update) and current != update
