"""How many replicas the nodes hold beside what is there."""

from decimal import Decimal
from typing import Any

import builders
import pytest
from fakes.cluster_of_one import planned

from berth_operator.core.accelerators import room
from berth_operator.core.observed import Node, Observed, Pod
from berth_operator.core.revision import Revision, readable
from berth_operator.settings import Settings

CARD = "nvidia.com/gpu"
DISCOVERED = builders.configured(
    acceleratorProfiles=[
        {"name": "gpu", "engineProfile": "vllm", "resource": CARD, "memory": "80Gi"}
    ]
)
DECLARED = builders.configured(
    acceleratorProfiles=[
        {
            "name": "gpu",
            "engineProfile": "vllm",
            "resource": CARD,
            "memory": "80Gi",
            "gpusPerNode": 2,
        }
    ]
)


def node(name: str = "n1", cards: int = 2, **fields: Any) -> Node:
    allocatable = {"cpu": "64", "memory": "512Gi", CARD: str(cards)}
    return Node(name=name, labels={}, allocatable=allocatable, **fields)


@pytest.fixture
def revision() -> Revision:
    """Of a model that takes one card."""
    cluster = planned(context=builders.context(**DECLARED.wire()))
    (found,) = readable(cluster.kind("ControllerRevision"))
    return found


def found(
    revision: Revision, *nodes: Node, pods: tuple[Pod, ...] = (), settings: Settings = DISCOVERED
) -> int | None:
    observed = Observed(cr={}, now=builders.NOW, nodes=nodes, pods=pods)
    return room.replicas(observed, revision, settings)


def test_each_free_card_takes_a_replica(revision: Revision) -> None:
    assert found(revision, node(), node("n2", 3)) == 5


def test_cards_of_other_models_are_not_free(revision: Revision) -> None:
    assert found(revision, node(cards=4, reserved={CARD: Decimal(3)})) == 1


def test_its_own_replicas_places_are_room_for_it(revision: Revision) -> None:
    pod = builders.engine_pod("r")
    own = Pod(pod | {"spec": revision.template["spec"] | {"nodeName": "n1"}})
    assert found(revision, node(cards=2, reserved={CARD: Decimal(2)}), pods=(own,)) == 1


def test_whatever_is_scarcest_is_the_bound(revision: Revision) -> None:
    scarce = Node("n1", {}, {"cpu": "64", "memory": "1Gi", CARD: "8"})
    assert found(revision, scarce) == 0


def test_a_cordoned_node_takes_nothing_new(revision: Revision) -> None:
    assert found(revision, node(unschedulable=True), node("n2", 1)) == 1


def test_a_node_with_a_fault_takes_nothing_new(revision: Revision) -> None:
    ill = node(conditions=({"type": "GpuMemWatch", "status": "True"},))
    assert found(revision, ill, node("n2", 1)) == 1


def test_a_node_that_the_pods_may_not_run_on_has_no_room(revision: Revision) -> None:
    spec = revision.template["spec"] | {"nodeSelector": {"zone": "a"}}
    held = Revision(**(vars(revision) | {"template": {"spec": spec}}))
    there = Node("n2", {"zone": "a"}, {"cpu": "64", "memory": "512Gi", CARD: "1"})
    assert found(held, node(), there) == 1


def test_nothing_is_known_of_nodes_that_are_not_there(revision: Revision) -> None:
    assert found(revision) is None


def test_a_declared_pool_is_its_autoscalers(revision: Revision) -> None:
    assert found(revision, node(), settings=DECLARED) is None
