import pytest
from plans import GIB, cpu_plan, gpu_plan

from berth_api.status import Memories
from berth_operator.core.planner import deviation


def test_a_share_is_of_its_whole_card() -> None:
    assert deviation.card_bytes(gpu_plan()) == pytest.approx(80 * GIB, abs=1)
    assert deviation.card_bytes(cpu_plan()) == 4 * GIB


def test_each_measure_stands_in_percent_of_the_card() -> None:
    measured = Memories(
        weights_bytes=15 * GIB,
        activation_bytes=int(5.8 * GIB),
        graph_bytes=int(0.2 * GIB),
        kv_cache_bytes=int(52.6 * GIB),
        resident_bytes=3 * GIB,
    )
    assert deviation.percent(gpu_plan(), measured) == {
        "weightsBytes": 0,
        "activationBytes": 1,
        "graphBytes": -1,
        "kvCacheBytes": 2,
    }


def test_what_was_not_measured_is_not_compared() -> None:
    assert deviation.percent(gpu_plan(), Memories(kv_cache_tokens=5)) is None


def test_on_cpu_the_whole_pod_is_compared_over_all_ranks() -> None:
    measured = Memories(kv_cache_bytes=GIB, resident_bytes=3 * GIB)
    assert deviation.percent(cpu_plan(), measured) == {"kvCacheBytes": 0, "residentBytes": -19}
    two = cpu_plan(tensor_parallel_size=2)
    assert deviation.pod_bytes(two) == 2 * deviation.pod_bytes(cpu_plan())
    assert deviation.percent(two, measured) == {"kvCacheBytes": 0, "residentBytes": -56}
