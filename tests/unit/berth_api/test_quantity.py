from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.quantity import (
    format_bytes,
    mebibytes,
    parse,
    parse_bytes,
    parse_duration,
    parse_millicpu,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), ("1500m", Decimal("1.5")), ("1.5Gi", 1610612736), ("2k", 2000), (3, 3)],
)
def test_a_quantity_is_its_plain_value(text, value):
    assert parse(text) == value


@pytest.mark.parametrize("text", ["", "4 Gi", "-1", "4GB", "auto"])
def test_what_is_no_quantity_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write for example 80Gi"):
        parse(text)


def test_parts_of_a_unit_round_up_because_less_would_not_do():
    assert parse_bytes("1m") == 1
    assert parse_millicpu("0.0001") == 1
    assert mebibytes(1) == "1Mi"


@given(st.integers(0, 2**50))
def test_whole_mebibytes_hold_the_bytes_and_waste_less_than_one(count):
    assert 0 <= parse_bytes(mebibytes(count)) - count < 2**20


def test_bytes_are_shown_in_the_largest_unit_that_they_reach():
    assert format_bytes(1023) == "1023 B"
    assert format_bytes(1610612736) == "1.50 GiB"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("300", 300),
        (0, 0),
        ("1500ms", 1),
        ("-1", None),
        ("-5m", None),
    ],
)
def test_a_duration_is_seconds_and_a_negative_one_is_for_ever(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "m5", "-", "1.5"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match='write for example "5m"'):
        parse_duration(text)
