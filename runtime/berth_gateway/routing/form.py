"""What the gateway reads of a form with a file in it: audio to be transcribed or translated.

The form's bytes go on as they came, except that the value of `model` becomes the engine's name.
"""

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from berth_gateway.errors import Kind, Refusal

MEDIA_TYPE: Final = b"multipart/form-data"
# OpenAI's own forms have eight fields; each costs the parser some tens of microseconds.
_MAX_PARTS: Final = 64
_MAX_MODEL_BYTES: Final = 512  # twice the longest name that Berth serves
_TRUE: Final = frozenset({b"true", b"True", b"1"})


class Form:
    """A multipart body, and where in it the value of `model` is."""

    keep: float | None = None  # says nothing of how long the model is to stay loaded

    def __init__(self, raw: bytes, fields: dict[bytes, tuple[int, int]]) -> None:
        self.raw = raw
        self._start, self._end = fields[b"model"]
        self.model = raw[self._start : self._end].decode()
        start, end = fields.get(b"stream", (0, 0))
        self.stream = raw[start:end] in _TRUE

    @property
    def prefix(self) -> bytes:
        """Nothing: no two recordings begin alike in a way that an engine could reuse."""
        return b""

    def naming(self, model: str) -> bytes:
        """The form with `model` as its model; every other byte as it came."""
        if model == self.model:
            return self.raw
        return self.raw[: self._start] + model.encode() + self.raw[self._end :]


def parse(raw: bytes, content_type: bytes) -> Form:
    """Refusal (400) if it is no form, or names no model exactly once."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != MEDIA_TYPE or not boundary:
        message = "the body must be multipart/form-data with a boundary"
        raise Refusal(Kind.BAD_REQUEST, message)
    fields = _places(raw, boundary)
    start, end = fields.get(b"model", (0, 0))
    if not 0 < end - start <= _MAX_MODEL_BYTES or not _is_text(raw[start:end]):
        raise Refusal(Kind.BAD_REQUEST, "you must provide a model parameter", param="model")
    return Form(raw, fields)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _places(raw: bytes, boundary: bytes) -> dict[bytes, tuple[int, int]]:
    parts = _Parts()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_name,
                "on_header_value": parts.header_value,
                "on_part_data": parts.data,
                "on_part_end": parts.end,
            },
        )
        parser.write(raw)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(Kind.BAD_REQUEST, f"the body is not a valid form: {error}") from error
    return parts.places


class _Parts:
    """The parser's callbacks. It is fed the whole form at once, so its offsets are the form's."""

    def __init__(self) -> None:
        self.places: dict[bytes, tuple[int, int]] = {}  # of each field's value, by its name
        self._count = 0
        self._start = self._end = 0
        self._header = b""
        self._name = b""

    def begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise Refusal(Kind.BAD_REQUEST, f"the form has more than {_MAX_PARTS} parts")
        self._start = self._end = 0
        self._name = b""

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = data[start:end].lower()

    def header_value(self, data: bytes, start: int, end: int) -> None:
        if self._header == b"content-disposition":
            _, options = parse_options_header(data[start:end])
            self._name = options.get(b"name", b"")

    def data(self, _data: bytes, start: int, end: int) -> None:
        """A value comes in pieces where it holds what could have been the boundary."""
        self._start = self._start or start
        self._end = end

    def end(self) -> None:
        if self._name in self.places and self._name in {b"model", b"stream"}:
            message = f"the form has {self._name.decode()} twice"
            raise Refusal(Kind.BAD_REQUEST, message, param=self._name.decode())
        self.places[self._name] = (self._start, self._end)
