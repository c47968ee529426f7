import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.renaming import Renaming

ENGINE = "3f9a0c11d2"
FIELD = b'"model":"3f9a0c11d2"'


def renamed(*pieces: bytes, ours: str = "llama") -> bytes:
    renaming = Renaming(ENGINE, ours)
    return b"".join([*map(renaming.take, pieces), renaming.end()])


# Texts in which the field, or the beginning of it, stands often.
PARTS = st.sampled_from([FIELD, FIELD[:7], FIELD[:-1], b'"', b'"model":', b"x", b"\n\n", b'"""'])


@given(st.lists(PARTS, max_size=8).map(b"".join), st.lists(st.integers(0, 200), max_size=8))
def test_the_name_changes_however_the_answer_is_cut(text: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]

    assert renamed(*pieces) == text.replace(FIELD, b'"model":"llama"')


@given(st.text())
def test_a_model_of_any_name_stays_one_json_string(ours: str) -> None:
    assert json.loads(renamed(b'{"id":1,%b}' % FIELD, ours=ours)) == {"id": 1, "model": ours}


def test_what_no_name_can_follow_is_said_at_once() -> None:
    renaming = Renaming(ENGINE, "llama")
    event = b'data: {%b,"choices":[]}\n\n' % FIELD

    assert renaming.take(event) == b'data: {"model":"llama","choices":[]}\n\n'
    assert renaming.take(b'data: {"mod') == b"data: {"
    assert renaming.end() == b'"mod'


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"content": 'say "model":"3f9a0c11d2"'}).encode(),
        b'{"content":"3f9a0c11d2"}',
        b'{"model":"3f9a0c11d2x"}',
        b'{"models":"3f9a0c11d2"}',
    ],
)
def test_what_is_not_that_field_stays(text: bytes) -> None:
    assert renamed(text) == text
