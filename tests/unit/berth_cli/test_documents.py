"""Files of strangers: what they may not hold is a sentence, and never a crash or a long wait."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_cli import documents
from berth_cli.documents import MOST_LEVELS
from berth_cli.errors import InputError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


def nested(levels):
    return "[" * levels + "]" * levels


def aliases(levels, each=9):
    """YAML whose last value stands for `each` to the power of `levels` others."""
    first = f"a0: &a0 [{', '.join(['x'] * each)}]"
    rest = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * each)}]" for n in range(1, levels))
    return "\n".join((first, *rest))


def refusal(text):
    with pytest.raises(InputError, match=r"^-f x: ") as refused:
        documents.of_yaml(text, "-f x")
    return str(refused.value)


@given(VALUES)
def test_json_is_read_alike_as_yaml_and_as_json(value):
    text = json.dumps(value)
    assert documents.of_yaml(text, "x") == [value]
    assert documents.of_json(text, "x", "") == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("replicas: " + "9" * 5000, "a value that JSON cannot hold: .*5000 digits; write"),
        ("replicas: 0x" + "f" * 5000, "a value that JSON cannot hold: .*digits"),
        ("replicas: .inf", "a value that JSON cannot hold"),
        ("replicas: !!timestamp 2024-13-45", "a value that JSON cannot hold: month"),
        ("replicas: !!set {a}", "a value that JSON cannot hold"),
        ('name: "\\ud800"', "a value that JSON cannot hold"),
        ("a: " + nested(3000), f"more than {MOST_LEVELS} lists and mappings"),
        ("a: " + nested(MOST_LEVELS), f"more than {MOST_LEVELS} lists and mappings"),
        ("spec: {accelerators: &l [*l]}", r"spec.accelerators\[0\]: an alias of what it is in"),
        (
            "spec:\n  replicas: 1\n  replicas: 2",
            "spec.replicas: written twice, on line 2 and on line 3",
        ),
        ("- {a: 1, a: 1}", r"\[0\].a: written twice"),
        ("a: [b", "not YAML: .*line 1"),
    ],
)
def test_what_kubernetes_would_not_take_is_told(text, said):
    assert re.search(said, refusal(text).replace("\n", " "))


def test_python_has_no_advice_for_the_user():
    assert "set_int_max_str_digits" not in refusal("a: " + "9" * 5000)


def test_dates_stay_text():
    assert documents.of_yaml("a: 2024-13-45\nb: 2024-01-02", "x") == [
        {"a": "2024-13-45", "b": "2024-01-02"}
    ]


def test_as_many_levels_as_are_allowed_are_read_in_both():
    assert documents.of_yaml(nested(MOST_LEVELS), "x")
    assert documents.of_json(nested(MOST_LEVELS), "x", "")


def test_a_few_aliases_are_written_out():
    assert documents.of_yaml("a: &a [1]\nb: *a\nc: *a", "x") == [{"a": [1], "b": [1], "c": [1]}]


def test_aliases_that_stand_for_gigabytes_are_refused_at_once():
    begin = time.monotonic()
    assert "characters with its aliases written out, and Kubernetes stores" in refusal(aliases(9))
    assert time.monotonic() - begin < 2


def test_levels_are_counted_through_aliases():
    half = "[" * (MOST_LEVELS // 2 + 1)
    shut = half.replace("[", "]")
    assert "lists and mappings" in refusal(f"a: &a {half}{shut}\nb: {half}*a {shut}")


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 900, 100_000])
def test_json_that_is_too_deep_is_refused(levels):
    with pytest.raises(InputError, match=f"^--shape x: more than {MOST_LEVELS} lists"):
        documents.of_json(nested(levels), "--shape x", "")


def test_json_that_is_no_unicode_is_refused():
    with pytest.raises(InputError, match=r"^--shape x: text that is no Unicode: .*ud800"):
        documents.of_json('{"a": ["\\ud800"]}', "--shape x", "")
