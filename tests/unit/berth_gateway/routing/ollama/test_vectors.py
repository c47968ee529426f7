import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.ollama.answer import LOST, Failed, Loaded, Moment
from berth_gateway.routing.ollama.question import Endpoint
from berth_gateway.routing.ollama.vectors import MAX_VECTOR_BYTES, Vectors

NOW = Moment(103.0, "")
LOADED = Loaded(started=100.0, held=2.0)
ROWS = [[0.5, -1e-05], [1, 2.0]]


def _made(endpoint: Endpoint = Endpoint.EMBED, inputs: int = 2) -> Vectors:
    return Vectors(endpoint, "bge:latest", LOADED, inputs)


def _body(*rows: list[float], model: str = "bge") -> bytes:
    data = [{"index": n, "object": "embedding", "embedding": row} for n, row in enumerate(rows)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return json.dumps({"id": "embd-1", "model": model, "data": data, "usage": usage}).encode()


def _read(said: bytes) -> Any:
    assert said.endswith(b"\n")
    return json.loads(said)


def test_vectors_go_on_as_they_are_written() -> None:
    assert _read(_made().take(_body(*ROWS), NOW, last=True)) == {
        "model": "bge:latest", "embeddings": ROWS, "total_duration": 3_000_000_000,
        "load_duration": 2_000_000_000, "prompt_eval_count": 7,
    }  # fmt: skip


def test_the_older_form_has_one() -> None:
    said = _made(Endpoint.EMBEDDINGS, 1).take(_body(ROWS[0]), NOW, last=True)
    assert _read(said) == {"embedding": ROWS[0]}


@given(st.lists(st.integers(0, 300), max_size=8), st.booleans())
def test_any_cut_of_the_bytes_gives_the_same_document(cuts, spaced) -> None:
    raw = _body(*ROWS) if spaced else _body(*ROWS).replace(b" ", b"")
    places = [0, *sorted(min(one, len(raw)) for one in cuts), len(raw)]
    made = _made()
    pieces = [raw[a:b] for a, b in pairwise(places)]
    said = b"".join(made.take(one, NOW, last=False) for one in pieces)
    said += made.take(b"", NOW, last=True)

    assert _read(said)["embeddings"] == ROWS
    assert _read(said)["prompt_eval_count"] == 7


def test_a_name_that_looks_like_a_vector_is_none() -> None:
    said = _made().take(_body(*ROWS, model='"embedding": [7]'), NOW, last=True)
    assert _read(said)["embeddings"] == ROWS


@pytest.mark.parametrize("size", range(0, len(_body(*ROWS)), 7))
def test_an_answer_that_is_not_whole_is_none(size) -> None:
    made = _made()
    said = made.take(_body(*ROWS)[:size], NOW, last=True)

    assert made.failed == Failed(500, LOST)
    with pytest.raises(ValueError):
        json.loads(said)


def test_another_number_of_vectors_than_of_texts_is_a_failure() -> None:
    made = _made(inputs=3)
    made.take(_body(*ROWS), NOW, last=True)
    assert made.failed == Failed(500, LOST)


def test_what_holds_no_vectors_is_not_kept() -> None:
    made = _made()
    made.take(b"x" * (MAX_VECTOR_BYTES + 1), NOW, last=False)
    assert made.failed == Failed(500, "the engine sent embeddings that cannot be read")
    assert made.take(_body(*ROWS), NOW, last=True) == b""
