"""Every series that the gateway and the operator export, by the parts that export them."""

import promql_parser as promql
from prometheus_client import CollectorRegistry

from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Model, build
from berth_gateway.state.load import Load
from berth_gateway.state.queue_counts import QueueCounts
from berth_gateway.state.queue_gauges import QueueGauges
from berth_gateway.state.queues import Queues
from berth_gateway.telemetry import Telemetry
from berth_operator.cluster.cache import Cache
from berth_operator.cluster.model_gauges import ModelGauges
from berth_operator.metrics import Metrics

_BUCKET = "le"  # Prometheus's own, of a histogram
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def registries() -> tuple[CollectorRegistry, ...]:
    """As the two processes put them together."""
    queues = Queues(Load(), Backlog())
    queues.publish(build([Model(key="u", name="smol", namespace="team")]))
    gateway, operator = Telemetry({}).registry, Metrics().registry
    gateway.register(QueueGauges(queues))
    gateway.register(QueueCounts(queues))
    operator.register(ModelGauges(Cache()))
    return gateway, operator


def families() -> dict[str, set[str]]:
    """The labels of every metric, by the name that a query begins with."""
    found = {}
    for registry in registries():
        for collector in registry._collector_to_names:
            for family in collector.collect():
                declared = getattr(collector, "_labelnames", getattr(family, "_labelnames", ()))
                suffix = "_total" if family.type == "counter" else ""
                found[family.name + suffix] = set(declared)
    return found


def series() -> dict[str, set[str]]:
    """The labels of every series, by its whole name."""
    types = {one.name: one.type for registry in registries() for one in registry.collect()}
    labels = families()
    found = {}
    for name, kind in types.items():
        for suffix in _SUFFIXES[kind]:
            own = labels.get(name, labels.get(name + suffix, set()))
            found[name + suffix] = own | ({_BUCKET} if suffix == "_bucket" else set())
    return found


def selectors(expression: promql.Expr) -> list[promql.VectorSelector]:
    """What a query asks for."""
    found: list[promql.VectorSelector] = []

    def visit(node: promql.Expr) -> bool:
        if isinstance(node, promql.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql.VectorSelector):
            found.append(node)
        return True

    promql.walk(expression, visit)
    return found
