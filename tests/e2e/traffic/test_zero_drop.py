"""No request is dropped, whatever happens to pods: a short run of `bench.cluster.zero_drop`."""

import asyncio
from collections.abc import Iterator

import pytest

from bench.cluster import zero_drop
from bench.cluster.traffic import End
from bench.cluster.zero_drop import LONG_TOKENS, REPLICAS, Plan, Scene, failures
from dev.installed import Berth

REQUESTS = 1500
PER_SECOND = 15.0
DISTURBANCES = (
    zero_drop.roll_out_without_a_spare,
    zero_drop.scale_down_and_up,
    zero_drop.kill_a_pod,
    zero_drop.restart_the_gateway,
)


@pytest.fixture
def scene(berth: Berth) -> Iterator[Scene]:
    berth.helm(f"--set=gateway.replicas={zero_drop.GATEWAYS}")
    try:
        with zero_drop.on_standins(berth) as scene:
            asyncio.run(scene.settle(REPLICAS))
            yield scene
    finally:
        berth.helm("--set=gateway.replicas=1")


def test_nothing_is_dropped_through_all_that_happens_to_pods(scene: Scene) -> None:
    plan = Plan(REQUESTS, PER_SECOND, LONG_TOKENS, compare_text=False)
    results = asyncio.run(zero_drop.run(scene, plan, DISTURBANCES))
    text, _ = zero_drop.report(scene, results)
    print(text)
    assert failures(results, scene.kills) == [], text
    assert sum(result.end is End.WHOLE for result in results) >= REQUESTS * 0.97
