import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Refusal
from berth_gateway.routing import request
from berth_gateway.routing.keep_alive import FOREVER
from berth_gateway.routing.ollama.question import RAW_TOKENS, Endpoint, Question, read
from berth_gateway.routing.snapshot import Facts, Model
from berth_gateway.settings import Limits

MODEL = Model(key="1", name="llama", facts=Facts(context=4096))
LIMITS = Limits()
STREAMS = {"stream": True, "stream_options": {"include_usage": True}}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()
USER = {"role": "user", "content": "Hi"}


def _read(endpoint: Endpoint, limits: Limits = LIMITS, **fields: Any) -> Question:
    return read(endpoint, json.dumps({"model": "llama:latest", **fields}).encode(), limits)


def _asked(endpoint: Endpoint, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_read(endpoint, **fields).body(MODEL, LIMITS))
    return found


def test_a_chat_is_a_chat() -> None:
    question = _read(Endpoint.CHAT, messages=[USER])

    assert (question.model, question.path) == ("llama:latest", b"/v1/chat/completions")
    assert (question.stream, question.keep_alive, question.unloads) == (True, None, False)
    assert json.loads(question.body(MODEL, LIMITS)) == {
        "model": "llama", "messages": [USER], **STREAMS
    }  # fmt: skip


def test_a_client_that_wants_one_piece_is_streamed_to_the_gateway_all_the_same() -> None:
    question = _read(Endpoint.CHAT, messages=[USER], stream=False)

    assert not question.stream
    assert question.asked["stream"] is True


def test_a_prompt_becomes_a_conversation() -> None:
    found = _asked(Endpoint.GENERATE, prompt="Hi", system="Be brief.", images=[PNG])

    system, user = found["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]


def test_a_raw_prompt_goes_on_as_it_is() -> None:
    question = _read(Endpoint.GENERATE, prompt="<s>Hi", raw=True)

    assert question.path == b"/v1/completions"
    assert json.loads(question.body(MODEL, LIMITS))["prompt"] == "<s>Hi"


@pytest.mark.parametrize(
    ("model", "options", "tokens"),
    [
        (MODEL, {}, 4096),
        (MODEL, {"num_predict": -1}, 4096),
        (MODEL, {"num_predict": 5}, 5),
        (replace(MODEL, facts=Facts()), {}, RAW_TOKENS),
        (replace(MODEL, facts=Facts(context=10**7)), {}, LIMITS.output_tokens),
    ],
)
def test_a_raw_answer_does_not_end_after_vllms_sixteen_tokens(model, options, tokens) -> None:
    question = _read(Endpoint.GENERATE, prompt="Hi", raw=True, options=options)
    assert json.loads(question.body(model, LIMITS))["max_tokens"] == tokens


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (None, None),
        ("", None),
        ("json", {"type": "json_object"}),
        (
            {"type": "object"},
            {
                "type": "json_schema",
                "json_schema": {"name": "format", "schema": {"type": "object"}},
            },
        ),
    ],
)
def test_a_format_is_a_response_format(given, asked) -> None:
    for endpoint, more in (
        (Endpoint.CHAT, {"messages": [USER]}),
        (Endpoint.GENERATE, {"prompt": "a"}),
    ):
        assert _asked(endpoint, format=given, **more).get("response_format") == asked


@pytest.mark.parametrize(
    ("think", "asked"),
    [
        (None, {}),
        (True, {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}),
        (False, {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        (
            "low",
            {
                "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
                "reasoning_effort": "low",
            },
        ),
        (
            "max",
            {
                "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
                "reasoning_effort": "high",
            },
        ),
    ],
)
def test_thinking_is_a_switch_of_the_template_and_a_level_of_the_engine(think, asked) -> None:
    found = _asked(Endpoint.CHAT, messages=[USER], think=think)
    assert {
        name: found[name]
        for name in found
        if "think" in str(found[name]) or name == "reasoning_effort"
    } == asked


def test_tools_and_log_probabilities_go_on() -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    found = _asked(Endpoint.CHAT, messages=[USER], tools=[tool], logprobs=True, top_logprobs=3)

    assert found["tools"] == [tool]
    assert (found["logprobs"], found["top_logprobs"]) == (True, 3)


def test_log_probabilities_of_a_raw_prompt_are_a_number() -> None:
    found = _asked(Endpoint.GENERATE, prompt="a", raw=True, logprobs=True, top_logprobs=3)
    assert (found["logprobs"], "top_logprobs" in found) == (3, False)


def test_nobody_can_slip_a_field_of_openai_in() -> None:
    found = _asked(Endpoint.CHAT, messages=[USER], n=99, chat_template="{{ x }}", options={"n": 99})
    assert set(found) == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize("given", ["one text", ["one text"]])
def test_texts_are_embedded_and_cut_to_the_context(given) -> None:
    question = _read(Endpoint.EMBED, input=given)

    assert (question.path, question.stream) == (b"/v1/embeddings", False)
    assert json.loads(question.body(MODEL, LIMITS)) == {
        "model": "llama", "input": ["one text"], "encoding_format": "float",
        "truncate_prompt_tokens": -1, "truncation_side": "right",
    }  # fmt: skip


def test_a_text_that_is_not_to_be_cut_is_not_cut() -> None:
    found = _asked(Endpoint.EMBED, input=["a"], truncate=False, dimensions=2)
    assert "truncate_prompt_tokens" not in found
    assert found["dimensions"] == 2


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (Endpoint.CHAT, {}),
        (Endpoint.CHAT, {"messages": []}),
        (Endpoint.GENERATE, {}),
        (Endpoint.GENERATE, {"prompt": ""}),
        (Endpoint.EMBED, {}),
        (Endpoint.EMBED, {"input": ""}),
        (Endpoint.EMBED, {"input": []}),
        (Endpoint.EMBEDDINGS, {"prompt": ""}),
    ],
)
def test_no_prompt_asks_the_engine_nothing(endpoint, fields) -> None:
    question = _read(endpoint, keep_alive="10m", **fields)

    assert (question.path, question.unloads, question.keep_alive) == (b"", False, 600.0)


def test_no_prompt_and_no_time_unloads() -> None:
    assert _read(Endpoint.CHAT, keep_alive=0).unloads
    assert _read(Endpoint.GENERATE, keep_alive="0s").unloads
    assert not _read(Endpoint.GENERATE, keep_alive=0, prompt="a").unloads
    assert not _read(Endpoint.EMBED, keep_alive=0).unloads
    assert _read(Endpoint.CHAT, keep_alive=-1).keep_alive == FOREVER


@pytest.mark.parametrize(
    ("endpoint", "fields", "words"),
    [
        (Endpoint.CHAT, {"model": ""}, "model is required"),
        (Endpoint.CHAT, {"model": 7}, "model is '7'; it must be a string"),
        (Endpoint.CHAT, {"messages": "hi"}, "messages is 'hi'; it must be an array of objects"),
        (Endpoint.CHAT, {"messages": [1]}, r"messages\[0\]"),
        (Endpoint.CHAT, {"messages": [USER], "stream": "no"}, "stream is"),
        (Endpoint.CHAT, {"messages": [USER], "format": "xml"}, "invalid format: 'xml'"),
        (Endpoint.CHAT, {"messages": [USER], "think": "hard"}, "think is 'hard'"),
        (Endpoint.CHAT, {"messages": [USER], "top_logprobs": 21}, "between 0 and 20"),
        (Endpoint.CHAT, {"messages": [USER], "keep_alive": "300"}, "keep_alive is '300'"),
        (Endpoint.CHAT, {"messages": [USER], "options": []}, "options is an array"),
        (
            Endpoint.GENERATE,
            {"prompt": "a", "suffix": "b"},
            '"llama:latest" does not support insert',
        ),
        (
            Endpoint.GENERATE,
            {"prompt": "a", "template": "{{ .Prompt }}"},
            "template is not accepted",
        ),
        (Endpoint.GENERATE, {"prompt": "a", "context": [1]}, "context is not accepted"),
        (
            Endpoint.GENERATE,
            {"prompt": "a", "raw": True, "system": "b"},
            "raw mode does not support",
        ),
        (
            Endpoint.GENERATE,
            {"prompt": "a", "raw": True, "images": [PNG]},
            "raw mode does not support images",
        ),
        (Endpoint.EMBED, {"input": 7}, "invalid input type"),
        (Endpoint.EMBED, {"input": ["a", 7]}, "invalid input type"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(endpoint, fields, words) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        _read(endpoint, **fields)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "missing request body"),
        (b"[]", "not valid JSON"),
        (b'{"model": "a", "messages": [{"role": "user", "content": NaN}]}', "content is"),
        (b'{"model": "a", "prompt": "b", "format": {"a": NaN}}', "none in JSON"),
        (b'{"model": "a", "x": ' + b"[" * 99 + b"]" * 99 + b"}", "deep"),
    ],
)
def test_what_is_no_body_is_refused(raw, words) -> None:
    with pytest.raises(Refusal, match=words):
        read(Endpoint.GENERATE if b"prompt" in raw else Endpoint.CHAT, raw, LIMITS).body(
            MODEL, LIMITS
        )


NAMES = st.sampled_from(
    [
        "model", "messages", "prompt", "input", "options", "format", "think", "tools", "keep_alive",
        "role", "content", "images", "tool_calls", "function", "name", "arguments", "num_predict",
        "stop", "stream", "raw", "suffix", "logprobs", "top_logprobs", "truncate", "dimensions",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([PNG, "json", "5m", "user"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(Endpoint), st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_body_becomes_one_of_openais_or_is_refused(endpoint, fields) -> None:
    raw = json.dumps({"model": "m"} | fields).encode()
    try:
        question = read(endpoint, raw, LIMITS)
        body = request.parse(question.body(MODEL, LIMITS), LIMITS)
    except Refusal:
        return
    assert body.model == "llama"
    assert body.stream is (endpoint in {Endpoint.CHAT, Endpoint.GENERATE} and bool(question.path))
