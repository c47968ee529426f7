"""A stream's lines: what each says, and nothing of a stranger's line is an exception."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_cli import answers
from berth_cli.answers import Done, Failed, Piece, Usage, Waiting


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", None),
        ("event: error", None),
        (": waiting for smollm2: phase Loading, about 12 s", None),
        ("data: [DONE]", Done()),
        ('data: {"choices": [{"delta": {"content": "Hi"}}]}', Piece("Hi")),
        ('data:{"choices": [{"delta": {"reasoning_content": "Hm"}}]}', Piece("", "Hm")),
        ('data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}', Piece()),
        ('data: {"choices": [], "usage": null}', None),
        (
            'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}',
            Usage(9, 3),
        ),
        ('data: {"error": {"message": "no model"}}', Failed("no model")),
        ('data: {"error": "no model"}', Failed("no model")),
    ],
)
def test_a_line_says(line, found):
    if line.startswith(":"):
        found = Waiting(line[2:])
    assert answers.event(f"{line}\r\n") == found


@pytest.mark.parametrize("line", ["data: {", "data: []", "data: 1", 'data: {"choices": [1]}'])
def test_a_line_of_another_api_is_a_failure_that_shows_it(line):
    found = answers.event(line)
    assert isinstance(found, Failed)
    assert line.removeprefix("data: ") in found.text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "content", "usage", "error", "message"]), inner
        )
    ),
)


@given(VALUES.map(lambda value: f"data: {json.dumps(value)}") | st.text())
def test_any_line_is_an_event_or_nothing(line):
    assert answers.event(line) is None or isinstance(answers.event(line), answers.Event)


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_refusal_has_its_status(body):
    assert "HTTP 503" in answers.refused(503, body)


def test_a_refusal_is_told_in_the_gateways_words():
    body = b'{"error": {"message": "the model is paused", "type": "x"}}'
    assert answers.refused(503, body) == "the model is paused (HTTP 503)"
    assert answers.refused(502, b"<html>") == "HTTP 502: <html>"
    assert answers.refused(502, b"") == "HTTP 502"


def test_a_chat_asks_for_a_stream_and_its_usage():
    found = answers.chat("m", [{"role": "user", "content": "Hi"}])
    assert (found["stream"], found["stream_options"]) == (True, {"include_usage": True})
