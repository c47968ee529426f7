from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.pauses import Pauses

PAUSES = Pauses(timedelta(seconds=10), timedelta(minutes=10))


@pytest.mark.parametrize(("tries", "seconds"), [(1, 10), (2, 20), (3, 40), (6, 320), (7, 600)])
def test_each_pause_is_twice_the_one_before_up_to_the_longest(tries, seconds):
    assert PAUSES.of(tries).total_seconds() == seconds


@given(st.integers(1, 10**6))
def test_no_number_of_failures_is_too_large_nor_shortens_a_pause(tries):
    assert PAUSES.first <= PAUSES.of(tries) <= PAUSES.of(tries + 1) <= PAUSES.longest
