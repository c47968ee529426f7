"""What the operator counts of itself, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a look at a cached model at rest (a millisecond) to one with a slow API server.
_LOOK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One registry per operator, so that tests and several operators in one process stay apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconcile_seconds = Histogram(
            "berth_operator_reconcile_seconds",
            "Time of one look at one ModelDeployment.",
            ["result"],
            buckets=_LOOK_SECONDS,
            registry=self.registry,
        )
        self.writes = Counter(
            "berth_operator_writes",
            "Writes that the API server accepted.",
            ["kind", "method"],
            registry=self.registry,
        )
        self.api_errors = Counter(
            "berth_operator_api_errors",
            "Requests that the API server refused or did not answer.",
            ["reason"],
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "berth_operator_queue_depth",
            "ModelDeployments that wait for a look.",
            registry=self.registry,
        )
        self.queue_age_seconds = Gauge(
            "berth_operator_queue_age_seconds",
            "How long the oldest of them has waited.",
            registry=self.registry,
        )
        self.gateways = Gauge(
            "berth_operator_gateways",
            "Gateway pods whose demand is heard.",
            registry=self.registry,
        )
        self.leading = Gauge(
            "berth_operator_leading", "1 while this operator leads.", registry=self.registry
        )
