"""A plan names a few of what it is not, and counts the others."""

from hypothesis import given
from hypothesis import strategies as st

from berth_api.status import Alternative
from berth_operator.core.planner.alternatives import MOST, bounded


def several(count: int, name: str = "l4") -> list[Alternative]:
    return [Alternative(accelerator=name, reason=f"{number} too much") for number in range(count)]


def test_a_few_are_told_as_they_are() -> None:
    assert bounded(several(MOST)) == several(MOST)


def test_the_last_sentence_counts_the_rest() -> None:
    found = bounded(several(46))
    assert found[:-1] == several(MOST - 1)
    assert found[-1].reason == f"{MOST - 1} too much; and 30 more"


@given(st.integers(0, 60), st.integers(0, 60))
def test_none_is_forgotten_when_others_are_put_before(first: int, later: int) -> None:
    twice = bounded([*several(later, "h100"), *bounded(several(first))])
    assert len(twice) == min(MOST, first + later)
    more = first + later - len(twice)
    counts = [one.reason.split("; and ")[1] for one in twice if "; and " in one.reason]
    assert counts == ([f"{more} more"] if more else [])
