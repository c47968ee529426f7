"""What an autoscaler reads of the queues."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from berth_gateway.errors import Failure
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.state.load import Load
from berth_gateway.state.queue_gauges import QueueGauges
from berth_gateway.state.queues import Held, Place, Queues

A, B = (Endpoint(key=key, url=f"http://{key}", name=key) for key in "ab")
COLD = Model(key="u-1", name="llama", namespace="team")
WARM = Model(key="u-2", name="qwen", namespace="team", endpoints=(A, B))
NEVER_ASKED = Model(key="u-3", name="idle", namespace="team")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queues(clock: Clock) -> Iterator[Queues]:
    made = Queues(Load(clock), Backlog(100, 1000), clock=clock)
    made.publish(build([COLD, WARM, NEVER_ASKED]))
    yield made
    made.close()


@pytest.fixture
def registry(queues: Queues) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(QueueGauges(queues))
    return made


def value(registry: CollectorRegistry, name: str, model: Model) -> float | None:
    labels = {"namespace": model.namespace, "model": model.name}
    return registry.get_sample_value(f"berth_gateway_{name}", labels)


def test_a_model_that_was_never_asked_has_its_series_at_zero(registry: CollectorRegistry) -> None:
    names = {family.name for family in registry.collect()}
    found = {
        name: value(registry, name.removeprefix("berth_gateway_"), NEVER_ASKED) for name in names
    }
    assert found == dict.fromkeys(names, 0.0)
    assert names


async def test_held_requests_are_its_queue(
    registry: CollectorRegistry, queues: Queues, clock: Clock
) -> None:
    for _ in range(3):
        assert isinstance(queues.hold(COLD, 1), Held)
    clock.now += 7.0
    assert value(registry, "queue_depth", COLD) == 3
    assert value(registry, "requests_held", COLD) == 3
    assert value(registry, "oldest_held_seconds", COLD) == 7.0


def test_requests_at_engines_are_its_queue_too(registry: CollectorRegistry, queues: Queues) -> None:
    assert isinstance(queues.take(WARM), Place)
    assert isinstance(queues.take(WARM), Place)
    assert value(registry, "queue_depth", WARM) == 2
    assert value(registry, "requests_held", WARM) == 0


def test_a_request_at_a_replica_that_has_left_is_still_counted(
    registry: CollectorRegistry, queues: Queues
) -> None:
    assert isinstance(queues.take(WARM), Place)
    queues.publish(build([replace(WARM, endpoints=())]))
    assert value(registry, "endpoints", WARM) == 0
    assert value(registry, "queue_depth", WARM) == 1


def test_an_endpoint_that_failed_is_counted_as_ejected(
    registry: CollectorRegistry, queues: Queues
) -> None:
    queues.failed(WARM, A, Failure.CONNECT)
    assert value(registry, "endpoints", WARM) == 2
    assert value(registry, "endpoints_ejected", WARM) == 1


def test_a_model_that_is_deleted_loses_its_series(
    registry: CollectorRegistry, queues: Queues
) -> None:
    queues.publish(build([WARM]))
    assert value(registry, "queue_depth", COLD) is None
