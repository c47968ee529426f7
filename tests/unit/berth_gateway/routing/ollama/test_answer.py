import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.ollama import answer
from berth_gateway.routing.ollama.answer import (
    LOST,
    MAX_EVENT_BYTES,
    MAX_WHOLE_BYTES,
    Failed,
    Generation,
    Loaded,
    Moment,
)
from berth_gateway.routing.ollama.question import Endpoint, Question

NOW = Moment(103.0, "2026-11-21T00:00:00Z")
LOADED = Loaded(started=100.0, held=2.0)
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}
DONE = b"data: [DONE]\n\n"
CALL = {"index": 0, "id": "c-1", "function": {"name": "weather", "arguments": ""}}


def _event(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, **more}
    return _data({"choices": [choice]})


def _data(document: Any) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def _made(endpoint: Endpoint = Endpoint.CHAT, *, stream: bool = True) -> Generation:
    return Generation(endpoint, "llama:latest", LOADED, stream=stream)


def _lines(made: Generation, *events: bytes) -> list[dict[str, Any]]:
    said = made.take(b"".join(events), NOW, last=True)
    assert said == b"" or said.endswith(b"\n")
    return [json.loads(line) for line in said.splitlines()]


STREAM = (
    b": a comment\n\n",
    _event({"role": "assistant", "content": ""}),
    _event({"content": "Par"}),
    _event({"content": "is"}, "stop"),
    _data(USAGE),
    DONE,
)
ENDED = {
    "done": True, "done_reason": "stop", "total_duration": 3_000_000_000,
    "load_duration": 2_000_000_000, "prompt_eval_count": 5, "prompt_eval_duration": 1_000_000_000,
    "eval_count": 2, "eval_duration": 0,
}  # fmt: skip
KNOWN = {"model": "llama:latest", "created_at": NOW.told}


def test_each_piece_is_a_line_and_the_last_says_how_it_went() -> None:
    made = _made()
    assert _lines(made, *STREAM) == [
        KNOWN | {"message": {"role": "assistant", "content": "Par"}, "done": False},
        KNOWN | {"message": {"role": "assistant", "content": "is"}, "done": False},
        KNOWN | {"message": {"role": "assistant", "content": ""}} | ENDED,
    ]
    assert (made.done, made.failed) == (True, None)


def test_a_prompts_answer_is_a_response() -> None:
    first, *_, last = _lines(_made(Endpoint.GENERATE), *STREAM)

    assert first == KNOWN | {"response": "Par", "done": False}
    assert last == KNOWN | {"response": ""} | ENDED


def test_a_raw_prompts_answer_is_a_text() -> None:
    choice = {"text": "Par", "finish_reason": "length"}
    first, last = _lines(_made(Endpoint.GENERATE), _data({"choices": [choice]}), DONE)

    assert (first["response"], last["done_reason"]) == ("Par", "length")


def test_in_one_piece_nothing_is_said_before_the_end() -> None:
    made = _made(stream=False)
    assert made.take(b"".join(STREAM[:-1]), NOW, last=False) == b""

    (whole,) = _lines(made, DONE)
    assert whole == KNOWN | {"message": {"role": "assistant", "content": "Paris"}} | ENDED


@given(st.lists(st.integers(0, sum(map(len, STREAM))), max_size=8), st.booleans())
def test_any_cut_of_the_bytes_gives_the_same_lines(cuts, stream) -> None:
    whole = b"".join(STREAM)
    places = [0, *sorted(cuts), len(whole)]
    made = _made(stream=stream)
    pieces = [whole[a:b] for a, b in pairwise(places)]
    said = b"".join(made.take(one, NOW, last=False) for one in pieces)
    said += made.take(b"", NOW, last=True)

    assert said == _made(stream=stream).take(whole, NOW, last=True)
    assert made.done


def test_durations_are_those_between_the_engines_bytes() -> None:
    made = _made()
    made.take(STREAM[1], Moment(101.9, ""), last=False)  # not a token yet
    made.take(STREAM[2], Moment(102.5, ""), last=False)
    made.take(STREAM[3], Moment(103.0, ""), last=False)
    last = json.loads(made.take(DONE, Moment(104.0, ""), last=True))

    assert last["total_duration"] == 4_000_000_000
    assert last["prompt_eval_duration"] == 500_000_000
    assert last["eval_duration"] == 1_500_000_000


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_what_the_model_thinks_is_told_apart(name) -> None:
    events = (_event({name: "Hm"}), _event({"content": "4"}, "stop"), DONE)
    thought, said, _ = _lines(_made(), *events)
    assert thought["message"] == {"role": "assistant", "content": "", "thinking": "Hm"}
    assert "thinking" not in said["message"]

    (whole,) = _lines(_made(Endpoint.GENERATE, stream=False), *events)
    assert (whole["thinking"], whole["response"]) == ("Hm", "4")


def test_tool_calls_are_collected_and_have_their_arguments_as_objects() -> None:
    events = (
        _event({"tool_calls": [CALL]}),
        _event({"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]}),
        _event({"tool_calls": [{"index": 0, "function": {"arguments": 'ty": "Paris"}'}}]}),
        _event({"tool_calls": [{"index": 1, "id": "c-2", "function": {"name": "time"}}]}),
        _event({}, "tool_calls"),
        DONE,
    )
    told, last = _lines(_made(), *events)

    assert told["message"]["tool_calls"] == [
        {"id": "c-1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}},
        {"id": "c-2", "function": {"index": 1, "name": "time", "arguments": {}}},
    ]
    assert (last["done_reason"], "tool_calls" in last["message"]) == ("stop", False)

    (whole,) = _lines(_made(stream=False), *events)
    assert whole["message"]["tool_calls"] == told["message"]["tool_calls"]


@pytest.mark.parametrize("arguments", ['{"city": "Pa', "[1]", "7"])
def test_a_call_that_was_cut_off_is_no_call_and_nothing_of_it_is_lost(arguments) -> None:
    call = CALL | {"function": {"name": "weather", "arguments": arguments}}
    (told, last) = _lines(_made(), _event({"tool_calls": [call]}), _event({}, "length"), DONE)

    assert told["message"] == {"role": "assistant", "content": arguments}
    assert last["done_reason"] == "length"


def test_log_probabilities_of_a_chat_are_as_the_engine_has_them() -> None:
    logprob = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    events = (_event({"content": "a"}, "stop", logprobs={"content": [logprob]}), DONE)

    assert _lines(_made(), *events)[0]["logprobs"] == [logprob]
    assert _lines(_made(stream=False), *events)[0]["logprobs"] == [logprob]


def test_log_probabilities_of_a_raw_prompt_are_told_in_the_same_shape() -> None:
    rows = {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.5, None],
        "top_logprobs": [{"a": -0.5}, None],
    }
    choice = {"text": "ab", "logprobs": rows, "finish_reason": "stop"}
    told, _ = _lines(_made(Endpoint.GENERATE), _data({"choices": [choice]}), DONE)

    assert told["logprobs"] == [
        {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -0.5}]},
        {"token": "b", "logprob": 0.0},
    ]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("count", range(len(STREAM)))
def test_an_answer_that_is_not_whole_is_never_done(stream, count) -> None:
    made = _made(stream=stream)
    lines = _lines(made, *STREAM[:count])

    assert made.failed == Failed(500, LOST)
    assert not any(line["done"] for line in lines)


@pytest.mark.parametrize(
    ("event", "failed"),
    [
        (_data({"error": {"message": "busy", "code": 503}}), Failed(503, "busy")),
        (_data({"error": {"message": "bad", "code": 7}}), Failed(500, "bad")),
        (_data({"error": "dead"}), Failed(500, "dead")),
        (_data({"error": {}}), Failed(500, "the engine failed")),
        (b"data: {nonsense}\n\n", Failed(500, "the engine sent an event that cannot be read")),
        (
            b"data: " + b"[" * 5000 + b"\n",
            Failed(500, "the engine sent an event that cannot be read"),
        ),
        (_event({}, "abort") + DONE, Failed(500, f"{LOST} (abort)")),
        (DONE, Failed(500, LOST)),
    ],
)
def test_after_a_failure_nothing_more_is_said(event, failed) -> None:
    made = _made()
    (only,) = _lines(made, STREAM[2], event, *STREAM[3:])

    assert only["message"]["content"] == "Par"
    assert (made.failed, made.done) == (failed, False)


def test_an_event_without_an_end_is_not_kept() -> None:
    made = _made()
    made.take(b"data: " + b"x" * MAX_EVENT_BYTES, NOW, last=False)

    assert made.failed is not None
    assert "more than 1048576 bytes" in made.failed.message


def test_an_answer_in_one_piece_is_bounded() -> None:
    made = _made(stream=False)
    piece = "x" * (MAX_EVENT_BYTES // 2)
    for _ in range(2 * MAX_WHOLE_BYTES // len(piece)):
        made.take(_event({"content": piece}), NOW, last=False)

    assert made.failed is not None
    assert '"stream": true' in made.failed.message


@given(st.lists(st.binary(max_size=20) | st.sampled_from([*STREAM, b"data: {}\n", b"\n"])))
def test_any_bytes_end_in_an_answer_or_in_a_failure(pieces) -> None:
    made = _made()
    for one in pieces:
        made.take(one, NOW, last=False)
    made.take(b"", NOW, last=True)

    assert made.done is (made.failed is None)


@pytest.mark.parametrize(
    ("status", "raw", "failed"),
    [
        (404, b'{"detail": "Not Found"}', Failed(400, '"llama" does not support chat')),
        (400, b'{"error": {"message": "too long"}}', Failed(400, "too long")),
        (400, b'{"error": "Unauthorized"}', Failed(400, "Unauthorized")),
        (500, b"<html>", Failed(500, "the engine answered with status 500")),
        (500, b"[]", Failed(500, "the engine answered with status 500")),
    ],
)
def test_an_engines_error_keeps_its_words(status, raw, failed) -> None:
    assert answer.refused(Question(Endpoint.CHAT, "llama", None), status, raw) == failed


@pytest.mark.parametrize(
    ("endpoint", "document"),
    [
        (
            Endpoint.CHAT,
            KNOWN
            | {
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": "load",
            },
        ),
        (Endpoint.GENERATE, KNOWN | {"response": "", "done": True, "done_reason": "load"}),
        (Endpoint.EMBED, {"model": "llama:latest", "embeddings": []}),
        (Endpoint.EMBEDDINGS, {"embedding": []}),
    ],
)
def test_a_loaded_model_is_told_in_the_shape_of_its_path(endpoint, document) -> None:
    assert json.loads(answer.loaded(endpoint, "llama:latest", "load", NOW)) == document
