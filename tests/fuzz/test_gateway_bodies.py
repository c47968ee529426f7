"""What the gateway reads of a body: JSON, a form, an entry of a key. Refused in words, or read right."""

import json
from collections.abc import Callable
from typing import Any

import fuzzing
import schema_values
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Refusal
from berth_gateway.routing import request
from berth_gateway.settings import Limits, MediaUrls
from berth_gateway.world import keys

Fuzz = Callable[[Callable[[], None]], None]

NAMES = st.sampled_from(
    [
        "model", "messages", "stream", "n", "best_of", "max_tokens", "logprobs", "input", "query",
        "documents", "content", "image_url", "source", "url", "type", "chat_template_kwargs",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from([None, True, "llama", "http://x", "data:,", 1, 10**30, -1.5, 1e308, "\ud800"])
    | schema_values.ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TOKENS = st.sampled_from(
    [
        b"{", b"}", b"[", b"]", b",", b":", b'"', b'"model"', b'"llama"', b"1e999", b"NaN", b"-0",
        b"Infinity", b"null", b"\\", b'\\u0000"', b'"\\ud800"', b"\x00", b"\xff", b"\xef\xbb\xbf",
        b"[" * 2000, b'{"a":' * 500, b"9" * 5000, b" ", b"\n", b'"model":"llama"', b"true",
    ]
)  # fmt: skip


def _written(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON, of which a few bytes are something else."""
    fields = st.dictionaries(NAMES, VALUES, max_size=6)
    named = fields.map(lambda found: {"model": "llama"} | found)
    raw = draw((named | fields).map(_written) | st.lists(TOKENS).map(b"".join))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(TOKENS | st.binary(max_size=3)) + raw[at + draw(st.integers(0, 3)) :]
    return raw


LIMITS = st.builds(Limits, choices=st.integers(1, 200), media_urls=st.sampled_from(MediaUrls))


def _check(refusal: Refusal) -> None:
    assert refusal.status in (400, 413)
    assert json.loads(refusal.body())["error"]["message"]


def test_any_body_is_read_as_json_is_or_refused(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(bodies(), LIMITS)
    def read(raw: bytes, limits: Limits) -> None:
        try:
            body = request.parse(raw, limits)
        except Refusal as refusal:
            _check(refusal)
            return
        known = json.loads(raw)
        assert body.model == known["model"]
        renamed = json.loads(body.naming("other"))
        assert json.dumps(renamed) == json.dumps(known | {"model": "other"})  # NaN is not NaN
        assert len(body.prefix) <= len(raw)

    fuzz(read)


FIELDS = st.sampled_from(
    [
        b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nllama\r\n',
        b'--b\r\ncontent-disposition: form-data; name="stream"\r\n\r\ntrue\r\n',
        b"--b\r\ncontent-disposition: form-data; name*=utf-8''model\r\n\r\nx\r\n", b"--b--\r\n",
        b"--b\r\n", b"\r\n", b"--", b'name="model"', b"\xff", b"--b\r\n\r\n\r\n", b";" * 200, b": ",
    ]
)  # fmt: skip
TYPES = st.sampled_from(
    [
        b"multipart/form-data; boundary=b", b'multipart/form-data; boundary="b"', b"", b"text/plain",
        b"multipart/form-data; boundary=", b"multipart/form-data; boundary=" + b"b" * 300,
        b"multipart/form-data; boundary*=utf-8''b", b"multipart/form-data; boundary=\xff", b";" * 99,
    ]
)  # fmt: skip


def test_any_form_is_read_or_refused(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(st.lists(FIELDS | st.binary(max_size=8)).map(b"".join), TYPES | st.binary(max_size=40))
    def read(raw: bytes, content_type: bytes) -> None:
        try:
            form = request.parse_form(raw, content_type)
        except Refusal as refusal:
            _check(refusal)
            return
        assert form.model
        assert request.parse_form(form.naming("other"), content_type).model == "other"

    fuzz(read)


def test_any_key_that_cannot_be_read_admits_nobody(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(
        st.dictionaries(st.text(max_size=5), bodies() | st.from_regex(rb"[0-9a-f]{64}"), max_size=3)
    )
    def read(fields: dict[str, bytes]) -> None:
        for key in keys.from_secret(fields):
            assert len(bytes.fromhex(key.sha256)) == 32

    fuzz(read)
