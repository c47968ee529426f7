import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Refusal
from berth_gateway.routing import keep_alive
from berth_gateway.routing.keep_alive import FOREVER


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        (0, 0.0),
        (300, 300.0),
        (1.5, 1.5),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("250ms", 0.25),
        ("+2s", 2.0),
        (".5s", 0.5),
        ("0", 0.0),
        ("0s", 0.0),
        (-1, FOREVER),
        (-0.5, FOREVER),
        ("-1s", FOREVER),
        ("-1m", FOREVER),
        (10**30, FOREVER),
        ("99999999h", FOREVER),
    ],
)
def test_every_form_of_ollama_is_a_number_of_seconds(given, seconds) -> None:
    found = keep_alive.keep_alive(given)
    assert found == (pytest.approx(seconds) if seconds is not None else None)


@pytest.mark.parametrize(
    "given", ["", "300", "-1", "5 m", "5x", "m", "1h-5m", True, [], {}, float("nan"), "1s" * 99]
)
def test_anything_else_is_refused_with_what_it_must_be(given) -> None:
    with pytest.raises(
        Refusal, match=r"keep_alive is .*; it must be a number of seconds"
    ) as refused:
        keep_alive.keep_alive(given)
    assert (refused.value.status, refused.value.param) == (400, "keep_alive")


@pytest.mark.parametrize(("given", "seconds"), [(None, None), (60, 60.0), (-1, FOREVER)])
def test_a_ttl_is_a_number(given, seconds) -> None:
    assert keep_alive.ttl(given) == seconds


@pytest.mark.parametrize("given", ["60", "1m", False, [1]])
def test_a_ttl_is_nothing_else(given) -> None:
    with pytest.raises(Refusal, match="ttl is"):
        keep_alive.ttl(given)


@pytest.mark.parametrize(
    ("one", "other", "longest"),
    [
        (None, None, None),
        (None, 1.0, 1.0),
        (2.0, None, 2.0),
        (2.0, 1.0, 2.0),
        (FOREVER, 9.0, FOREVER),
    ],
)
def test_for_ever_is_the_longest_and_unsaid_the_shortest(one, other, longest) -> None:
    assert keep_alive.longer(one, other) == keep_alive.longer(other, one) == longest


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_value_is_read_or_refused(value) -> None:
    try:
        found = keep_alive.keep_alive(value)
    except Refusal:
        return
    assert found is None or found == FOREVER or found >= 0
