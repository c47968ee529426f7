import pytest

from bench.cluster.traffic import Ask, End, Result
from bench.cluster.zero_drop import Kill, failures, memory_bytes

KILL = Kill(asked=9.5, done=9.6)
STREAM = Ask("m", "hello", 8, stream=True)


def ended(end: End, at: float = 0.0, total: float = 10.0) -> Result:
    return Result(STREAM, end, at, 0.1, total)


def test_a_run_in_which_all_are_whole_has_no_failures() -> None:
    assert failures([ended(End.WHOLE)] * 3, kills=[]) == []


@pytest.mark.parametrize("end", [End.REFUSED, End.UNREACHABLE, End.TRUNCATED, End.DIFFERENT])
def test_some_ends_are_never_excused(end: End) -> None:
    assert failures([ended(end)], kills=[KILL]) == [f"1 requests were {end.value}"]


@pytest.mark.parametrize(
    ("at", "total", "excused"),
    [
        (0.0, 10.0, True),  # under way at 9.5, and cut at 10
        (9.55, 1.0, True),  # begun while the deletion was on its way
        (9.9, 1.0, True),  # begun before the gateway had heard of it
        (10.2, 0.2, False),  # begun after it
        (0.0, 9.0, False),  # cut before it
        (0.0, 20.0, False),  # cut long after it
    ],
)
def test_a_cut_stream_is_excused_by_the_kill_that_cut_it_only(
    at: float, total: float, *, excused: bool
) -> None:
    assert (failures([ended(End.TOLD, at, total)], kills=[KILL]) == []) is excused


def test_quantities_of_memory_are_read() -> None:
    assert [memory_bytes(one) for one in ("1Gi", "3Ki", "17")] == [2**30, 3 * 2**10, 17]
