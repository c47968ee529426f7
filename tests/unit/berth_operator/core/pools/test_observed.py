from typing import Any

import pooled
import pytest

from berth_operator.core.observed import Node, Pod


def node(name: str = "node-1", heard: str = "True") -> Node:
    return Node(
        name=name, labels={}, allocatable={}, conditions=({"type": "Ready", "status": heard},)
    )


def silent(**known: Any) -> Pod:
    return Pod(pooled.pod_object(**known), None)


def active(pod: Pod, *nodes: Node) -> bool:
    return bool(pooled.observed(pods=(pod,), nodes=nodes).active)


@pytest.mark.parametrize("nodes", [(node("node-2"),), (node(heard="Unknown"),)])
def test_a_silent_pod_on_a_node_that_is_gone_or_not_heard_is_lost(nodes: tuple[Node, ...]) -> None:
    assert not active(silent(ready=False), *nodes)


@pytest.mark.parametrize(
    ("pod", "nodes"),
    [
        (silent(ready=False), (node(),)),  # it restarts
        (silent(ready=False), ()),  # nodes may not be read
        (silent(), (node(heard="Unknown"),)),  # it takes requests
        (pooled.pod(ready=False), (node(heard="Unknown"),)),  # it answers
    ],
)
def test_a_pod_that_may_still_hold_its_engines_is_not(pod: Pod, nodes: tuple[Node, ...]) -> None:
    assert active(pod, *nodes)


def test_a_pod_on_its_way_out_is_not_active() -> None:
    assert not active(pooled.pod(deletionTimestamp="2026-01-02T03:04:05Z"))
