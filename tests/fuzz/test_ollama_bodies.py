"""Ollama's front: any body becomes a sound one of OpenAI's or is refused; any answer ends in one way."""

import base64
import json
from collections.abc import Callable
from typing import Any

import fuzzing
import schema_values
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Dialect, Refusal
from berth_gateway.routing import request
from berth_gateway.routing.ollama import question
from berth_gateway.routing.ollama.answer import Generation, Loaded, Moment
from berth_gateway.routing.ollama.question import Endpoint
from berth_gateway.routing.ollama.vectors import Vectors
from berth_gateway.routing.snapshot import Facts, Model
from berth_gateway.settings import Limits

Fuzz = Callable[[Callable[[], None]], None]

MODEL = Model(key="1", name="llama", facts=Facts(context=4096))
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()
NAMES = st.sampled_from(
    [
        "model", "messages", "prompt", "input", "options", "format", "think", "tools", "keep_alive",
        "role", "content", "images", "tool_calls", "function", "name", "arguments", "num_predict",
        "stop", "stream", "raw", "suffix", "system", "template", "context", "logprobs", "seed",
        "top_logprobs", "truncate", "dimensions", "num_ctx", "n", "chat_template", "image_url",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(
        [None, True, "llama", PNG, "http://x", "json", "5m", 1, 10**30, 1e308, "\ud800"]
    )
    | schema_values.ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TOKENS = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b'"model"',
        b"NaN",
        b"1e999",
        b"\\",
        b"\x00",
        b"\xff",
        b"[" * 2000,
        b"9" * 5000,
    ]
)
LIMITS = st.builds(Limits, output_tokens=st.integers(1, 9999), media_parts=st.integers(0, 3))
EVENTS = st.sampled_from(
    [
        b'data: {"choices": [{"delta": {"content": "Par"}}]}\n\n',
        b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 1, "function": {"name": "a"}}]}}]}\n',
        b'data: {"choices": [{"delta": null, "logprobs": {"content": [{"token": 1}]}}]}\n',
        b'data: {"error": {"message": "x", "code": 503}}\n\n', b"data: [DONE]\n\n", b": words\n",
        b"data:", b"data: {}\n", b'{"embedding": [1, 2]}', b'"embedding": [', b"]", b"}", b"\n", b"\xff",
    ]
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON, of which a few bytes are something else."""
    fields: dict[str, Any] = {"model": "llama"} | draw(st.dictionaries(NAMES, VALUES, max_size=6))
    raw = json.dumps(fields).encode()
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(TOKENS | st.binary(max_size=3)) + raw[at + draw(st.integers(0, 3)) :]
    return raw


def test_any_body_becomes_a_sound_one_or_is_refused(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(st.sampled_from(Endpoint), bodies(), LIMITS)
    def read(endpoint: Endpoint, raw: bytes, limits: Limits) -> None:
        try:
            asked = question.read(endpoint, raw, limits)
            body = request.parse(asked.body(MODEL, limits), limits)
        except Refusal as refusal:
            _check(refusal)
            return
        known = json.loads(body.raw, parse_constant=_no_constant)
        assert known["model"] == "llama"
        assert known.get("max_tokens", 1) <= limits.output_tokens
        assert not known.keys() & {"n", "best_of", "chat_template", "mm_processor_kwargs"}

    fuzz(read)


def _check(refusal: Refusal) -> None:
    assert refusal.status in (400, 413)
    assert json.loads(refusal.body(Dialect.OLLAMA)) == {"error": refusal.message}


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_any_answer_is_done_or_failed_and_never_both(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(st.lists(EVENTS | st.binary(max_size=8)), st.booleans(), st.sampled_from(Endpoint))
    def read(pieces: list[bytes], stream: bool, endpoint: Endpoint) -> None:
        loaded, now = Loaded(0.0), Moment(1.0, "now")
        made = (
            Vectors(endpoint, "llama", loaded, 1)
            if endpoint in {Endpoint.EMBED, Endpoint.EMBEDDINGS}
            else Generation(endpoint, "llama", loaded, stream=stream)
        )
        said = b"".join(made.take(one, now, last=False) for one in pieces)
        said += made.take(b"", now, last=True)
        assert made.done is (made.failed is None)
        if isinstance(made, Generation):
            lines = [json.loads(line) for line in said.splitlines()]
            assert [line["done"] for line in lines] == [False] * (len(lines) - made.done) + [
                True
            ] * made.done

    fuzz(read)
