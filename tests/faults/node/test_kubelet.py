"""The node's kubelet stands still: Kubernetes calls the node lost, and every pod of it runs on.

This cluster has one node, so nothing can be moved to another, and the gateways are on the lost node
themselves. What is shown: while Kubernetes does not know it yet, nothing changes for clients; when
it does, it takes every pod for unready, and a gateway that is asked at its own address holds
requests instead of failing them; and when the kubelet is back, the same pods serve again. Pods of
lost nodes that are replaced: `tests/faults/test_operator_nodes.py`.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fault_case import Case, ends, shown
from fault_traffic import gateways, pace_for, short, through, until

from bench.cluster.traffic import Result
from bench.cluster.zero_drop import REPLICAS, Scene
from dev.cluster import OwnNode
from dev.node import NAME
from dev.processes import Daemon

# Kubernetes' node-monitor-grace-period, 50 s, and the controller's own step.
LOST_SECONDS = 75.0
BACK_SECONDS = 60.0
HELD_SECONDS = 5.0
SERVED_BEFORE_SECONDS = 20.0


@pytest.fixture
def kubelet(own_node: OwnNode) -> Daemon:
    (found,) = [one for one in own_node.node.daemons if one.name == "kubelet"]
    return found


@contextmanager
def frozen(daemon: Daemon) -> Iterator[None]:
    pid = daemon.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def node_ready(scene: Scene) -> bool:
    conditions = scene.berth.get("node", NAME)["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def ready(scene: Scene) -> list[str]:
    """The model's pods that Kubernetes takes for ready."""
    return [
        pod["metadata"]["name"]
        for pod in scene.pods()
        for one in pod["status"]["conditions"]
        if one["type"] == "Ready" and one["status"] == "True"
    ]


def test_fault_35_while_the_node_is_lost_requests_are_answered_or_held(
    scene: Scene, case: Case, kubelet: Daemon
) -> None:
    before = {pod["metadata"]["uid"] for pod in scene.pods()}
    (gateway, *_) = gateways(scene.berth)

    async def lose_the_node() -> list[Result]:
        async with through(gateway, scene.berth.key) as clients:
            with frozen(kubelet):
                await pace_for(clients, short(scene.model), SERVED_BEFORE_SECONDS)
                assert max(one.held for one in clients.results) == 0
                await until("all are unready", lambda: not ready(scene), LOST_SECONDS)
                after = asyncio.create_task(pace_for(clients, short(scene.model), HELD_SECONDS))
                await asyncio.sleep(HELD_SECONDS)
            await after
            return clients.results

    results = asyncio.run(lose_the_node())
    assert ends(results) == {}, shown(results)
    assert max(one.held for one in results) > 0
    scene.berth.wait_until("the node is back", lambda: node_ready(scene), seconds=BACK_SECONDS)
    asyncio.run(scene.settle(REPLICAS))
    assert {pod["metadata"]["uid"] for pod in scene.pods()} == before
