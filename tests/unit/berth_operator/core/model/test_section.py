import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.model.section import MOST, MOST_LAYERS, Section, Unreadable


def section(**values):
    return Section(values, {"default": 7})


def test_the_first_name_that_is_said_counts():
    assert section(b=2, c=3).number("a", "b", "c") == 2


def test_what_is_not_said_has_its_familys_default():
    assert section().number("default") == 7
    assert section(default=None).number("default") == 7
    assert section(default=1).number("default") == 1


def test_a_list_of_one_number_per_layer_is_its_largest():
    assert section(a=[3, 5, 4]).number("a") == 5


@pytest.mark.parametrize(
    "value",
    [
        -1,
        1.5,
        MOST + 1,
        10**400,
        pytest.param(10**5000, id="long"),
        "8",
        True,
        [],
        {},
        [1, "x"],
        [1, [2]],
    ],
)
def test_what_is_no_sound_number_is_named_with_its_limit_and_a_fix(value):
    with pytest.raises(Unreadable, match=r"config.json .*hidden_size") as failed:
        section(hidden_size=value).number("hidden_size")
    assert "hidden_size" in failed.value.fix


def test_what_is_missing_is_named():
    with pytest.raises(Unreadable, match="no usable hidden_size"):
        section().number("hidden_size", "n_embd")


def test_words_are_counted_or_were_counted_before():
    assert section(a=["x", "y", "x"]).counts("a") == {"x": 2, "y": 1}
    assert section(a={"x": 2, "y": 1}).counts("a") == {"x": 2, "y": 1}
    assert section(a=3).counts("a") == {}


def test_more_of_a_word_than_any_model_has_layers_are_refused():
    assert section(a={"x": MOST_LAYERS}).counts("a") == {"x": MOST_LAYERS}
    with pytest.raises(Unreadable, match="a is '4097', which is no whole number up to 4,096"):
        section(a={"x": MOST_LAYERS + 1}).counts("a")


def test_nesting_without_end_is_refused():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Unreadable, match="a is a list"):
        section(a=value).number("a")


def test_an_inner_object_has_no_defaults():
    inner = section(a={"b": 1}).inner("x", "a")
    assert inner is not None
    assert inner.number("b") == 1
    assert not inner.has("default")
    assert section(a={}).inner("a") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(JSON)
def test_any_value_is_a_bounded_number_or_refused(value):
    found = section(a=value)
    try:
        assert 0 < found.number("a") <= MOST
    except Unreadable as problem:
        assert problem.fix  # noqa: PT017 -- either outcome is one
    assert 0 < found.fraction("a") <= 1
    assert isinstance(found.text("a"), str)
