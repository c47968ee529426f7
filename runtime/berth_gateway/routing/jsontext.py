"""A JSON body read by Python's own parser: slow, exact, and with words for what is wrong.

For the few bodies that the fast decoder does not take, and for those whose model has to be found
in the text to be renamed.
"""

import json
import re
from itertools import accumulate
from typing import Any, Final, NamedTuple

from berth_gateway.errors import Kind, Refusal

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\n\r]*")  # RFC 8259 section 2
# OpenAI's and vLLM's requests have about sixty; a million would stop the loop for seconds.
_MAX_FIELDS: Final = 256
# A value needs a comma or a bracket. Parsing holds the interpreter, a thread's too, for half a
# microsecond each. JSON or code of a million tokens has less than half as many in its strings.
_MAX_MARKS: Final = 500_000
_MARKS: Final = (b",", b"[", b"{")
# An object is the dearest value. Dense JSON of a million tokens, in a string, has less than this.
_MAX_BRACES: Final = 250_000
# What is left of a body without these are its quotes and brackets.
_NO_STRUCTURE: Final = bytes(set(range(256)) - set(b'"[]{}'))
_ROUND: Final = bytes.maketrans(b"[{]}", b"(())")
_STEPS: Final = bytes.maketrans(b"()", b"\x01\xff")  # one down, and one up: -1 as a signed byte
_SHOWN_CHARACTERS: Final = 80  # of a client's value in an error message


class Top(NamedTuple):
    """The top-level fields, and where in `text` the effective `model` value starts and ends."""

    text: str
    fields: dict[str, Any]
    start: int
    end: int

    def naming(self, model: str) -> bytes:
        """The text with `model` as its model; every other byte as it came."""
        return (self.text[: self.start] + json.dumps(model) + self.text[self.end :]).encode()


def read(raw: bytes) -> Top:
    """Refusal (400, 413) if it is no JSON object in UTF-8 or breaks a bound."""
    check_marks(raw)
    text = decoded(raw)
    try:
        return _scan(text)
    except json.JSONDecodeError as error:
        message = f"the body is not valid JSON: {error.msg} at character {error.pos}"
        raise Refusal(Kind.BAD_REQUEST, message) from error
    except (ValueError, RecursionError) as error:
        # An integer of thousands of digits, or a thousand brackets one in another.
        message = "the body is not acceptable JSON: a number is too long or the nesting too deep"
        raise Refusal(Kind.BAD_REQUEST, message) from error


def check_marks(raw: bytes) -> None:
    """Before values are built: counting takes milliseconds, building millions of them a second."""
    if len(raw) > _MAX_MARKS and sum(map(raw.count, _MARKS)) > _MAX_MARKS:
        raise _too_many_marks()


def _too_many_marks() -> Refusal:
    message = f"the body has more than {_MAX_MARKS} commas and brackets; split the request"
    return Refusal(Kind.TOO_LARGE, message)


def check_braces(raw: bytes) -> None:
    """As `check_marks`, for a reader that builds nothing but objects: numbers may be millions."""
    if len(raw) > _MAX_BRACES and raw.count(b"{") > _MAX_BRACES:
        message = f"the body has more than {_MAX_BRACES} opening braces; split the request"
        raise Refusal(Kind.TOO_LARGE, message)


def check_depth(raw: bytes, limit: int) -> None:
    """Before anything goes down into it: one in another, values may not lie deeper than `limit`.

    Most bodies do not have so many brackets. What is no JSON may pass.
    """
    if not _has_more_brackets(raw, limit):
        return
    brackets = _outside_of_strings(raw)
    openings = brackets.count(b"(")
    if openings > _MAX_MARKS:
        raise _too_many_marks()
    if (
        openings > limit
        and max(accumulate(memoryview(brackets.translate(_STEPS)).cast("b"))) > limit
    ):
        message = f"the body's values lie more than {limit} deep in one another; flatten them"
        raise Refusal(Kind.BAD_REQUEST, message)


def _has_more_brackets(raw: bytes, limit: int) -> bool:
    """Looks for each instead of counting: there are few, and text is skipped at once."""
    left = limit
    for bracket in (b"{", b"["):
        at = raw.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return True
            at = raw.find(bracket, at + 1)
    return False


def _outside_of_strings(raw: bytes) -> bytes:
    """The brackets that are no text, all of them round."""
    if b'\\"' in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes with nothing between them, be it a string or what is between two, cancel out.
    kept = raw.translate(_ROUND, _NO_STRUCTURE).replace(b'""', b"")
    strings = kept.split(b'"', _MAX_MARKS)
    if len(strings) > _MAX_MARKS:  # and as many brackets in and between them
        raise _too_many_marks()
    return b"".join(strings[::2])


def decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8"
        raise Refusal(Kind.BAD_REQUEST, message) from error


def _scan(text: str) -> Top:
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
    return Top(text, fields, start, end)


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


def shown(value: object) -> str:
    """A client's value for a message: quoted, cut where it is long; a container by its type only.

    Whatever could be read may still be too deep to be written again.
    """
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "an object"
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(cut(text))


def cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
