import json

import pytest

from bench.cluster.traffic import Ask, End, Result, judged, table, text_of, without_comments

STREAM = Ask("m", "hello", 8, stream=True)
PLAIN = Ask("m", "hello", 8, stream=False)


def event(word: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"message": "the engine stopped"}}\n\n'


@pytest.mark.parametrize(
    ("body", "end"),
    [
        (event("a") + DONE, End.WHOLE),
        (event("a"), End.TRUNCATED),
        (b"", End.TRUNCATED),
        (event("a") + ERROR, End.TOLD),
        (event("a") + ERROR + DONE, End.TOLD),
        (b": waiting\n\n" + event("a") + DONE, End.WHOLE),
        (event("a") + DONE[:-4], End.TRUNCATED),
    ],
)
def test_a_stream_is_whole_only_with_its_last_event(body: bytes, end: End) -> None:
    assert judged(STREAM, body) is end


@pytest.mark.parametrize(
    ("body", "end"),
    [(b'{"choices": []}', End.WHOLE), (b'{"choices": [', End.TRUNCATED), (b"", End.TRUNCATED)],
)
def test_a_plain_answer_is_whole_if_it_can_be_read(body: bytes, end: End) -> None:
    assert judged(PLAIN, body) is end


def test_comments_of_a_held_stream_are_no_part_of_the_answer() -> None:
    answer = event("a") + DONE
    assert without_comments(b": waiting for m\n\n: still\n\n" + answer) == answer


def test_the_words_of_both_kinds_of_answer_can_be_compared() -> None:
    plain = json.dumps({"id": "1", "choices": [{"message": {"content": "a b"}}]}).encode()
    assert text_of(STREAM, b": held\n\n" + event("a ") + event("b") + DONE) == "a b"
    assert text_of(PLAIN, plain) == "a b"


def test_the_table_counts_streams_and_others() -> None:
    ends = [(STREAM, End.WHOLE), (PLAIN, End.WHOLE), (PLAIN, End.REFUSED), (STREAM, End.TOLD)]
    rows = table([Result(ask, end, 0, 0, 1) for ask, end in ends]).splitlines()[2:]
    assert rows[0] == "| whole | 1 | 1 | 50.00 % |"
    assert rows[1] == "| refused before the first byte | 0 | 1 | 25.00 % |"
    assert rows[3] == "| cut, and told so | 1 | 0 | 25.00 % |"
