"""What the gateway reads of a request's body, and the one change that it makes to it.

Only the fields that decide about routing and limits are looked at. The body's bytes go on as they
came, except that the value of `model` becomes the name that the engine serves.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from berth_gateway.errors import Kind, Refusal
from berth_gateway.settings import Limits, MediaUrls

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\n\r]*")  # RFC 8259 section 2
# Fields that make the engine compute several answers at once.
_CHOICE_FIELDS: Final = ("n", "best_of")
# Parts of a chat message that name a thing to load: {"type": "image_url", "image_url": {"url"}}.
_URL_FIELD_SUFFIX: Final = "_url"
_DATA_SCHEME: Final = "data:"
# OpenAI's and vLLM's requests have about sixty; a million would stop the loop for seconds.
_MAX_FIELDS: Final = 256
# A value needs a comma or a bracket. Parsing holds the interpreter, a thread's too, for half a
# microsecond each. JSON or code of a million tokens has less than half as many in its strings.
_MAX_MARKS: Final = 500_000
_MARKS: Final = (b",", b"[", b"{")
_SHOWN_CHARACTERS: Final = 80  # of a client's value in an error message


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object with the place of its effective `model` value, in characters of `text`."""

    raw: bytes
    text: str
    model: str
    model_start: int
    model_end: int

    def naming(self, model: str) -> bytes:
        """The body with `model` as its model; every other byte as it came."""
        if model == self.model:
            return self.raw
        head, tail = self.text[: self.model_start], self.text[self.model_end :]
        return (head + json.dumps(model) + tail).encode()


class _Top(NamedTuple):
    """The top-level fields, and where the effective `model` value starts and ends."""

    fields: dict[str, Any]
    start: int
    end: int


def parse(raw: bytes, limits: Limits) -> Body:
    """Refusal (400, 413) if the body is no JSON object, names no model, or breaks a limit."""
    _check_marks(raw)
    text, top = _decode(raw)
    model = top.fields.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(Kind.BAD_REQUEST, "you must provide a model parameter", param="model")
    for name in _CHOICE_FIELDS:
        _check_choices(name, top.fields.get(name), limits.choices)
    if limits.media_urls is MediaUrls.DATA_ONLY:
        _check_media(top.fields.get("messages"))
    return Body(raw=raw, text=text, model=model, model_start=top.start, model_end=top.end)


def _check_marks(raw: bytes) -> None:
    """Before parsing: counting takes milliseconds, building millions of values a second."""
    if len(raw) > _MAX_MARKS and sum(map(raw.count, _MARKS)) > _MAX_MARKS:
        message = f"the body has more than {_MAX_MARKS} commas and brackets; split the request"
        raise Refusal(Kind.TOO_LARGE, message)


def _decode(raw: bytes) -> tuple[str, _Top]:
    try:
        text = raw.decode()
        return text, _scan(text)
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8"
        raise Refusal(Kind.BAD_REQUEST, message) from error
    except json.JSONDecodeError as error:
        message = f"the body is not valid JSON: {error.msg} at character {error.pos}"
        raise Refusal(Kind.BAD_REQUEST, message) from error
    except (ValueError, RecursionError) as error:
        # An integer of thousands of digits, or a thousand brackets one in another.
        message = "the body is not acceptable JSON: a number is too long or the nesting too deep"
        raise Refusal(Kind.BAD_REQUEST, message) from error


def _scan(text: str) -> _Top:
    """One pass over the top level; whatever lies deeper is left to json's own scanner.

    As json.loads has it, the last of several equal keys wins.
    """
    fields: dict[str, Any] = {}
    start = end = count = 0
    at = _expect(text, _skip(text, 0), "{")
    closed = text.startswith("}", at)
    while not closed:
        key, at = _value(text, at)
        if not isinstance(key, str):
            raise json.JSONDecodeError("Expecting a property name in double quotes", text, at)
        at = _expect(text, _skip(text, at), ":")
        fields[key], after = _value(text, at)
        count += 1
        if count > _MAX_FIELDS:
            raise Refusal(Kind.BAD_REQUEST, f"the body has more than {_MAX_FIELDS} fields")
        if key == "model":
            start, end = at, after
        at = _skip(text, after)
        closed = text.startswith("}", at)
        if not closed:
            at = _expect(text, at, ",")
    if _skip(text, at + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)
    return _Top(fields, start, end)


def _value(text: str, at: int) -> tuple[Any, int]:
    value, end = _DECODER.raw_decode(text, at)
    return value, end


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _expect(text: str, at: int, wanted: str) -> int:
    """Past `wanted` and the space behind it."""
    if not text.startswith(wanted, at):
        raise json.JSONDecodeError(f"Expecting '{wanted}'", text, at)
    return _skip(text, at + 1)


def _check_choices(name: str, value: Any, limit: int) -> None:
    """Anything but an integer is refused too: engines coerce "9999" and 1e9 into numbers."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        message = f"{name} is {shown(value)}; it must be an integer from 1 to {limit}"
        raise Refusal(Kind.BAD_REQUEST, message, param=name)


def _check_media(messages: Any) -> None:
    for place, url in _media_urls(messages):
        if not url.startswith(_DATA_SCHEME):
            message = (
                f"{place} is {shown(url)}; this gateway accepts data: URLs only, "
                "so send the content itself in base64"
            )
            raise Refusal(Kind.UNSUPPORTED_MEDIA_URL, message, param=place)


def _media_urls(messages: Any) -> Iterator[tuple[str, str]]:
    """Each URL that a chat message asks the engine to load, with its place in the body."""
    for row, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        for column, part in enumerate(content if isinstance(content, list) else ()):
            for name, value in part.items() if isinstance(part, dict) else ():
                url = value.get("url") if isinstance(value, dict) else value
                if name.endswith(_URL_FIELD_SUFFIX) and isinstance(url, str):
                    yield f"messages[{row}].content[{column}].{name}", url


def shown(value: object) -> str:
    """A client's value for a message: quoted, cut where it is long; a container by its type only.

    Whatever could be read may still be too deep to be written again.
    """
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "an object"
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
