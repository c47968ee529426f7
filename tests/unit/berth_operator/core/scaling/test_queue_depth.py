"""How many requests a replica is aimed at when nobody says it."""

from typing import Any

import builders
import pytest
from fakes.cluster_of_one import planned

from berth_operator.core.revision import Revision, readable
from berth_operator.core.scaling import queue_depth


def revision(**runtime: Any) -> Revision:
    cluster = planned(cr=builders.model_deployment(runtime=runtime))
    (found,) = readable(cluster.kind("ControllerRevision"))
    return found


def test_what_the_user_says_is_taken() -> None:
    assert queue_depth.per_replica(7, revision()) == (7, "spec.scaling.targetQueueDepth")


def test_a_small_batch_is_the_bound() -> None:
    found, why = queue_depth.per_replica("auto", revision(maxNumSeqs=3))
    assert found == 3
    assert "largest batch" in why


def test_a_small_cache_is_the_bound() -> None:
    one = revision(maxNumSeqs=4096)
    found, why = queue_depth.per_replica("auto", one)
    assert one.plan.max_concurrency < found < 4096
    assert why == f"auto: the KV cache holds {found} sequences of 2048 tokens"


def test_no_sequence_is_longer_than_the_context() -> None:
    _, why = queue_depth.per_replica("auto", revision(maxNumSeqs=4096, maxModelLen=1024))
    assert "of 1024 tokens" in why


@pytest.mark.parametrize("config", [{}, {"architectures": ["Unheard"]}])
def test_a_stored_shape_that_cannot_be_read_leaves_the_plan(config: dict[str, Any]) -> None:
    one = revision(maxNumSeqs=4096)
    shape = one.shape.model_copy(update={"config": config})
    lost = Revision(**(vars(one) | {"shape": shape}))
    found, _ = queue_depth.per_replica("auto", lost)
    assert 1 <= found <= 4096
