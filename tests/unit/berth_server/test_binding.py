import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_server import binding
from berth_server.binding import Cpus

EIGHT = tuple(range(8))


@pytest.mark.parametrize(
    ("cpus", "ranks", "bound", "threads"),
    [
        (Cpus(EIGHT, 8), 1, "nobind", "7"),  # one is left to the API server
        (Cpus((0,), 1), 1, "nobind", "1"),
        (Cpus(EIGHT, 8), 2, "0,1,2,3|4,5,6,7", "3"),
        (Cpus((3, 5), 2), 2, "3|5", "1"),
        (Cpus((0, 4, 1, 5, 2), 5), 2, "0,4|1,5", "2"),  # one size, so one is left over
        (Cpus(EIGHT, 5), 2, "0,1,2,3|4,5,6,7", "2"),  # a quota bounds the threads alone
    ],
)
def test_each_rank_gets_cpus_of_its_own(cpus, ranks, bound, threads):
    assert binding.environment(cpus, ranks) == {
        "VLLM_CPU_OMP_THREADS_BIND": bound,
        "OMP_NUM_THREADS": threads,
    }


@given(st.sets(st.integers(0, 255), min_size=1), st.integers(1, 16))
def test_groups_are_disjoint_equal_and_as_large_as_can_be(ids, ranks):
    groups = binding.groups(Cpus(tuple(ids), len(ids)), ranks)
    members = [cpu for group in groups for cpu in group]
    assert len(groups) == ranks
    assert len({len(group) for group in groups}) == 1
    assert len(set(members)) == len(members) > len(ids) - ranks
    assert set(members) <= ids
