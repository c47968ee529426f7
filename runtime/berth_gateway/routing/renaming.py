"""What an engine calls a model, replaced in its answer by the model's own name, piece by piece.

An engine that models may share serves them all under one name of its own, which is nobody's but
Berth's. Engines write JSON without spaces, and a quote in a text is escaped, so that the bytes
`"model":"<name>"` are that field wherever they stand, in a document as in an event of a stream.
"""

import json


class Renaming:
    """One answer's. In all, `take` and `end` return it with `ours` for `theirs`."""

    __slots__ = ("_held", "_ours", "_theirs")

    def __init__(self, theirs: str, ours: str) -> None:
        self._theirs = _field(theirs)
        self._ours = _field(ours)
        self._held = b""  # the beginning of a field that may go on in the next piece

    def take(self, piece: bytes) -> bytes:
        """What can be said now: b"" where all of it may be part of a field."""
        *before, last = (self._held + piece).split(self._theirs)
        said = len(last) - _begun(last, self._theirs)
        self._held = last[said:]
        return self._ours.join([*before, last[:said]])

    def end(self) -> bytes:
        """What was held back, once nothing comes behind it."""
        said, self._held = self._held, b""
        return said


def _field(name: str) -> bytes:
    return b'"model":' + json.dumps(name).encode()


def _begun(text: bytes, field: bytes) -> int:
    """How many bytes at the end of `text` are the beginning of `field`, and not the whole of it."""
    at = text.find(b'"', max(0, len(text) - len(field) + 1))
    while at >= 0:
        if field.startswith(text[at:]):
            return len(text) - at
        at = text.find(b'"', at + 1)
    return 0
