"""A conversation in Ollama's words, in OpenAI's.

Ollama's images are bare base64, its tool calls have their arguments as objects and need no id, and
a tool's result names the tool and not the call. OpenAI's need all of that, so ids are made up: the
n-th call of a conversation is call_n, and a result belongs to the first call of its tool that has
none yet.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from itertools import count
from typing import Any, Final

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.jsontext import shown
from berth_gateway.routing.ollama import fields
from berth_gateway.routing.ollama.fields import Json

# The first bytes of each format that engines read; of WebP there are four more in between.
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
)
_RIFF: Final = b"RIFF"
_WEBP: Final = b"WEBP"
_MAGIC_CHARACTERS: Final = 16  # of base64: twelve bytes


def translate(messages: Iterable[Json]) -> list[dict[str, Any]]:
    """Refusal (400) names the message and the field."""
    calls = _Calls()
    return [_message(row, one, calls) for row, one in enumerate(messages)]


def parts(text: str, images: list[str], where: str = "") -> Any:
    """A message's content: the text alone, or behind its images."""
    if not images:
        return text
    found = [_image(f"{where}images[{row}]", one) for row, one in enumerate(images)]
    return found + ([{"type": "text", "text": text}] if text else [])


class _Calls:
    """The calls of a conversation that have no result yet."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []  # name and id
        self._numbers = count()

    def add(self, name: str, given: str) -> str:
        made = given or f"call_{next(self._numbers)}"
        self._open.append((name, made))
        return made

    def answered(self, name: str, given: str) -> str:
        """The id of the call that a result is of; of one that nobody made, an id of its own."""
        mine = (
            one for one in self._open if given == one[1] or (not given and name in {"", one[0]})
        )
        found = next(mine, None)
        if found is not None:
            self._open.remove(found)
            return found[1]
        return given or f"call_{next(self._numbers)}"


def _message(row: int, message: Json, calls: _Calls) -> dict[str, Any]:
    where = f"messages[{row}]."
    role = fields.text(message, "role", where).lower()
    if not role:
        raise fields.wrong(f"{where}role", message.get("role"), "system, user, assistant or tool")
    images = fields.texts(message, "images", where)
    found: dict[str, Any] = {
        "role": role,
        "content": parts(fields.text(message, "content", where), images, where),
    }
    if thinking := fields.text(message, "thinking", where):
        found["reasoning"] = thinking
    if asked := fields.objects(message, "tool_calls", where):
        found["tool_calls"] = [
            _call(f"{where}tool_calls[{place}].", one, calls) for place, one in enumerate(asked)
        ]
    if role == "tool":
        name = fields.text(message, "tool_name", where)
        given = fields.text(message, "tool_call_id", where)
        found["tool_call_id"] = calls.answered(name, given)
    return found


def _call(where: str, call: Json, calls: _Calls) -> dict[str, Any]:
    function = fields.document(call, "function", where)
    inner = f"{where}function."
    name = fields.text(function, "name", inner)
    if not name:
        raise fields.wrong(f"{inner}name", function.get("name"), "the name of a tool")
    arguments = fields.document(function, "arguments", inner)
    return {
        "id": calls.add(name, fields.text(call, "id", where)),
        "type": "function",
        "function": {"name": name, "arguments": written(arguments)},
    }


def written(value: Any) -> str:
    """JSON. Refusal for NaN and infinities, which no other reader takes."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        message = "the body holds a number that is none in JSON: NaN, or one out of range"
        raise Refusal(Kind.BAD_REQUEST, message) from error


def _image(where: str, text: str) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/{_format(where, text)};base64,{text}"},
    }


def _format(where: str, text: str) -> str:
    try:
        binascii.a2b_base64(text, strict_mode=True)
        head = base64.b64decode(text[:_MAGIC_CHARACTERS])
    except (binascii.Error, ValueError) as error:
        message = (
            f"{where} is {shown(text)}: {error}; send the image's bytes in base64, with nothing "
            "in front"
        )
        raise Refusal(Kind.BAD_REQUEST, message, param=where) from error
    if head.startswith(_RIFF) and head.endswith(_WEBP):
        return "webp"
    found = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if found is None:
        message = f"{where} is no image that engines read; send PNG, JPEG, GIF, WebP or BMP"
        raise Refusal(Kind.BAD_REQUEST, message, param=where)
    return found
