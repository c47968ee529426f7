"""What the gateway reads of a request's body, and the one change that it makes to it.

Only the fields that decide about routing and limits are decoded; the rest is checked for being
JSON and skipped, and nothing of it is built. The body's bytes go on as they came, except that the
value of `model` becomes the name that the engine serves.

A body that the fast decoder does not take is read again by Python's own parser, which decides: it
is the more lenient of the two, and its words say what is wrong and where.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing import bounds, form, jsontext, media
from berth_gateway.routing import keep_alive as keep
from berth_gateway.routing.bounds import ABSENT
from berth_gateway.routing.jsontext import shown as shown  # noqa: PLC0414 -- also of this module
from berth_gateway.routing.prefix import MAX_PREFIX_BYTES
from berth_gateway.settings import Limits

# Fields that may hold parts with an address in them: of a chat, of the Responses API, of rerank
# and score requests. A text among them is no part.
_MEDIA_FIELDS: Final = (
    "input", "query", "documents", "queries", "items", "text_1", "text_2", "data_1", "data_2",
)  # fmt: skip

_NO_OTHERS: Final = (ABSENT,) * len(_MEDIA_FIELDS)
_TRUE: Final = b"true"
_BRACE: Final = b"{"
_BRACKETS: Final = frozenset(b"[{")


class Body(Protocol):
    """A request's body, read as far as the gateway has to."""

    raw: bytes
    model: str
    stream: bool  # the client asked for a stream
    keep: float | None  # seconds that the model is to stay loaded at least, FOREVER; None: unsaid

    @property
    def prefix(self) -> bytes:
        """The beginning of what the engine will compute, MAX_PREFIX_BYTES at most; b"" for none."""

    def naming(self, model: str) -> bytes:
        """The body with `model` as its model; every other byte as it came."""


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw = ABSENT


class _Fields(msgspec.Struct, gc=False):
    """What is Raw is a view of the body: it has been checked, and nothing was built of it."""

    model: str
    stream: msgspec.Raw = ABSENT
    messages: list[_Message] | None = None
    input: msgspec.Raw = ABSENT
    query: msgspec.Raw = ABSENT
    documents: msgspec.Raw = ABSENT
    queries: msgspec.Raw = ABSENT
    items: msgspec.Raw = ABSENT
    text_1: msgspec.Raw = ABSENT
    text_2: msgspec.Raw = ABSENT
    data_1: msgspec.Raw = ABSENT
    data_2: msgspec.Raw = ABSENT
    # `bounds.FIELDS`
    n: msgspec.Raw = ABSENT
    best_of: msgspec.Raw = ABSENT
    max_tokens: msgspec.Raw = ABSENT
    max_completion_tokens: msgspec.Raw = ABSENT
    max_output_tokens: msgspec.Raw = ABSENT
    logprobs: msgspec.Raw = ABSENT
    top_logprobs: msgspec.Raw = ABSENT
    prompt_logprobs: msgspec.Raw = ABSENT
    chat_template: msgspec.Raw = ABSENT
    chat_template_kwargs: msgspec.Raw = ABSENT
    mm_processor_kwargs: msgspec.Raw = ABSENT
    media_io_kwargs: msgspec.Raw = ABSENT
    prompt_embeds: msgspec.Raw = ABSENT
    # Ollama's and LM Studio's; engines take no notice of them.
    keep_alive: msgspec.Raw = ABSENT
    ttl: msgspec.Raw = ABSENT


class _Model(msgspec.Struct, gc=False):
    model: msgspec.Raw


class _Prompt(msgspec.Struct, gc=False):
    """What the engine computes, by the APIs' several names for it."""

    messages: msgspec.Raw = ABSENT
    prompt: msgspec.Raw = ABSENT
    input: msgspec.Raw = ABSENT


_FIELDS: Final = msgspec.json.Decoder(_Fields)
_MODEL: Final = msgspec.json.Decoder(_Model)
_PROMPT: Final = msgspec.json.Decoder(_Prompt)
_DECODE_ERRORS: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class JsonBody:
    """A body that the fast decoder took."""

    __slots__ = ("_fields", "keep", "model", "raw", "stream")

    def __init__(self, raw: bytes, fields: _Fields) -> None:
        self.raw = raw
        self.model = fields.model
        self.stream = fields.stream is not ABSENT and bytes(fields.stream) == _TRUE
        unsaid = fields.keep_alive is ABSENT and fields.ttl is ABSENT
        self.keep = None if unsaid else _kept(_decoded(fields.keep_alive), _decoded(fields.ttl))
        self._fields = fields

    @property
    def prefix(self) -> bytes:
        """As it is written; another pass over the body, for whoever asks."""
        prompt = _PROMPT.decode(self.raw)
        given = (prompt.messages, prompt.prompt, prompt.input)
        found = next((one for one in given if one is not ABSENT), b"")
        return bytes(memoryview(found)[:MAX_PREFIX_BYTES])

    def naming(self, model: str) -> bytes:
        """The body with `model` as its model; every other byte as it came."""
        return self.raw if model == self.model else _renamed(self.raw, model)


class LenientBody:
    """A body that only Python's own parser took: with NaN in it, or messages of another shape."""

    prefix = b""

    def __init__(self, raw: bytes, top: jsontext.Top, model: str) -> None:
        self.raw = raw
        self.model = model
        self.stream = top.fields.get("stream") is True
        self.keep = _kept(top.fields.get("keep_alive"), top.fields.get("ttl"))
        self._top = top

    def naming(self, model: str) -> bytes:
        """The body with `model` as its model; every other byte as it came."""
        return self.raw if model == self.model else self._top.naming(model)


def renamed(raw: bytes, model: str, *, form_type: bytes | None) -> bytes:
    """A body that was let in, with `model` as its model; every other byte as it is.

    `form_type` is the content type of a form, None of JSON.
    """
    if form_type is not None:
        return form.parse(raw, form_type).naming(model)
    try:
        return _renamed(raw, model)
    except _DECODE_ERRORS:
        return jsontext.read(raw).naming(model)


def _renamed(raw: bytes, model: str) -> bytes:
    value = bytes(_MODEL.decode(raw).model)
    # Where the value is written only once, that is its place; else its place has to be found.
    # By its first and its last place, as `count` passes over one that overlaps: `"model":":"`.
    at = raw.find(value)
    if at == raw.rfind(value):
        return raw[:at] + msgspec.json.encode(model) + raw[at + len(value) :]
    return jsontext.read(raw).naming(model)


def _decoded(value: msgspec.Raw) -> Any:
    return msgspec.json.decode(value)


def _kept(keep_alive: Any, ttl: Any) -> float | None:
    return keep.longer(keep.keep_alive(keep_alive), keep.ttl(ttl))


def parse(raw: bytes, limits: Limits) -> Body:
    """Refusal (400, 413) if the body is no JSON object, names no model, or breaks a limit."""
    jsontext.check_braces(raw)
    jsontext.check_depth(raw, limits.json_depth)
    try:
        fields = _FIELDS.decode(raw)
        if not raw.isascii():
            jsontext.decoded(raw)  # what is skipped is not checked for being UTF-8
        if fields.model and bounds.fit(fields, limits):
            _check_media(raw, fields, limits)
            return JsonBody(raw, fields)
    except _DECODE_ERRORS:
        pass
    return _parse_slowly(raw, limits)


def parse_form(raw: bytes, content_type: bytes) -> Body:
    """Refusal (400) if the body is no form that names a model."""
    return form.parse(raw, content_type)


def _parse_slowly(raw: bytes, limits: Limits) -> Body:
    top = jsontext.read(raw)
    model = top.fields.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(Kind.BAD_REQUEST, "you must provide a model parameter", param="model")
    bounds.check(top.fields, limits)
    media.check(_media_values(top.fields), limits)
    return LenientBody(raw, top, model)


def _check_media(raw: bytes, fields: _Fields, limits: Limits) -> None:
    parts = _media_parts(fields)
    if parts:
        jsontext.check_marks(raw)  # from here on values are built
        media.check(((place, msgspec.json.decode(value)) for place, value in parts), limits)


def _media_parts(fields: _Fields) -> list[tuple[str, msgspec.Raw]]:
    """The values that may hold parts, each with its place: arrays and objects, never a text."""
    found = [
        (f"messages[{row}].content", message.content)
        for row, message in enumerate(fields.messages or ())
        if _has_parts(message.content)
    ]
    others = (
        fields.input, fields.query, fields.documents, fields.queries, fields.items,
        fields.text_1, fields.text_2, fields.data_1, fields.data_2,
    )  # fmt: skip
    if others != _NO_OTHERS:
        named = zip(_MEDIA_FIELDS, others, strict=True)
        found += [(name, value) for name, value in named if _has_parts(value)]
    return found


def _has_parts(value: msgspec.Raw) -> bool:
    """Texts and numbers, even millions of them in an array, have no brace outside of a text."""
    view = memoryview(value)
    return view[0] in _BRACKETS and _BRACE in bytes(view)


def _media_values(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """As `_media_parts`, of what Python's own parser read."""
    messages = fields.get("messages")
    for row, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict):
            yield f"messages[{row}].content", message.get("content")
    for name in _MEDIA_FIELDS:
        yield name, fields.get(name)
