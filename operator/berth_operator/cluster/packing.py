"""Objects as the cache keeps them: compressed, for most are read again only after a restart.

A parsed object takes ten times the memory of its JSON. What an operator makes is nearly alike, so
that what one object has beyond another of its kind is 0.1 to 0.3 KB: 10,000 models with their
children are some ten megabytes instead of a gigabyte. What is in use is kept parsed as well.
"""

import zlib
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from berth_operator.core.observed import Object

_LEVEL: Final = 1  # 20 us for a Deployment; more levels save a third of the bytes in twice the time
# A hundred models that are looked at again and again, at 15 KB an object.
_PARSED_OBJECTS: Final = 512


class Packed(NamedTuple):
    text: bytes
    like: bytes  # the JSON of another object, without which the text cannot be read

    @property
    def object(self) -> Object:
        """Shared by all who ask, so not to be changed."""
        return _unpacked(self.text, self.like)


class Packer:
    """For objects of one kind: each is kept as its difference to the first that came."""

    def __init__(self) -> None:
        self._first = b""

    def pack(self, obj: Object) -> Packed:
        text = msgspec.json.encode(obj)
        self._first = self._first or text
        compressor = zlib.compressobj(_LEVEL, zdict=self._first)
        return Packed(compressor.compress(text) + compressor.flush(), self._first)


@lru_cache(maxsize=_PARSED_OBJECTS)
def _unpacked(text: bytes, like: bytes) -> Object:
    decompressor = zlib.decompressobj(zdict=like)
    found: dict[str, Any] = msgspec.json.decode(decompressor.decompress(text))
    return found
