"""A card's map: what a plan and a measurement say of one GPU, or of a pod without one."""

import pytest

from berth_api.status import Memories, Plan
from berth_gateway.routing.memory import Part, Use, memory

PLAN = Plan.model_validate({
    "accelerator": "h100", "engineProfile": "vllm", "image": "vllm", "device": "cuda",
    "tensorParallelSize": 2, "gpusPerReplica": 2, "gpuMemoryFraction": "0.5", "dtype": "bfloat16",
    "kvCacheDtype": "auto", "usableBytes": 50, "weightsBytes": 20, "activationBytes": 5,
    "graphBytes": 2, "overheadBytes": 3, "kvBytesPerToken": 1, "kvCacheBytes": 20,
    "kvCacheTokens": 20, "maxModelLen": 1, "maxNumSeqs": 1, "maxNumBatchedTokens": 1,
    "memoryBytes": 1, "millicpu": 1,
})  # fmt: skip
ON_CPU = PLAN.model_copy(
    update={"device": "cpu", "gpu_memory_fraction": None, "gpus_per_replica": 0}
)


def test_the_whole_card_is_what_the_engine_has_a_fraction_of() -> None:
    found = memory(PLAN)

    assert (found.total, found.usable, found.cards) == (100, 50, 2)
    assert (found.hardware, found.resident) == ("h100", None)


def test_a_pod_without_a_gpu_is_one_card_of_all_its_ranks() -> None:
    measured = Memories(resident_bytes=70, weights_bytes=19)
    found = memory(ON_CPU.model_copy(update={"measured": measured}))

    assert (found.total, found.usable, found.cards) == (100, 100, 1)
    assert found.parts[0] == Part(Use.WEIGHTS, 40, 38)
    assert found.resident == 70


def test_what_was_not_measured_is_unknown_and_not_nothing() -> None:
    measured = Memories(weights_bytes=19, kv_cache_bytes=22, graph_bytes=0)
    found = memory(PLAN.model_copy(update={"measured": measured}))

    assert found.parts == (
        Part(Use.WEIGHTS, 20, 19),
        Part(Use.KV_CACHE, 20, 22),
        Part(Use.ACTIVATIONS, 5, None),
        Part(Use.GRAPHS, 2, 0),
        Part(Use.OVERHEAD, 3, None),
    )


@pytest.mark.parametrize("plan", [PLAN, ON_CPU])
def test_planned_parts_lie_within_what_the_engine_may_use(plan: Plan) -> None:
    found = memory(plan)

    assert sum(part.planned for part in found.parts) <= found.usable <= found.total
