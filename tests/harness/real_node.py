"""The node of the developer's own cluster, whose processes a test may stop, kill and measure.

A plugin of every test folder, as `real_cluster` is.
"""

import asyncio
from collections.abc import Iterator

import pytest

from bench.cluster import zero_drop
from bench.cluster.watching import Log, watching
from bench.cluster.zero_drop import Scene
from dev import cluster
from dev.installed import Berth


@pytest.fixture(scope="session")
def own_node(berth: Berth) -> cluster.OwnNode:
    here = cluster.current()
    if not isinstance(here, cluster.OwnNode) or here.kubectl.kubeconfig != berth.kubectl.kubeconfig:
        pytest.fail(
            f"{berth.kubectl.kubeconfig} is no cluster of `make up` on this machine: these tests "
            "touch processes of its node, so they run on nothing else"
        )
    return here


@pytest.fixture(scope="session")
def scene(berth: Berth, own_node: cluster.OwnNode, standins: None) -> Iterator[Scene]:
    """Three pods of the model `steady` behind two gateways."""
    berth.helm(f"--set=gateway.replicas={zero_drop.GATEWAYS}")
    try:
        with zero_drop.on_standins(berth) as scene:
            asyncio.run(scene.settle(zero_drop.REPLICAS))
            yield scene
    finally:
        berth.helm("--set=gateway.replicas=1")


@pytest.fixture(scope="session")
def log(scene: Scene) -> Iterator[Log]:
    with watching(scene.berth.kubectl, scene.namespace, ("deployments", "pods")) as log:
        yield log
