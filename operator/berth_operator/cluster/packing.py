"""Objects as the cache keeps them: compressed, for most are read again only after a restart.

A parsed object takes ten times the memory of its JSON, and compression a fifth of that: 10,000
models with their children are 50 MB instead of a gigabyte. What is in use is kept parsed as well.
"""

import zlib
from functools import lru_cache
from typing import Any, Final

import msgspec

from berth_operator.core.observed import Object

_LEVEL: Final = 1  # 50 us for a Deployment; more levels save a tenth of the bytes at most
# A hundred models that are looked at again and again, at 15 KB an object.
_PARSED_OBJECTS: Final = 512


def pack(obj: Object) -> bytes:
    return zlib.compress(msgspec.json.encode(obj), _LEVEL)


@lru_cache(maxsize=_PARSED_OBJECTS)
def unpack(packed: bytes) -> Object:
    """Shared by all who ask, so not to be changed."""
    found: dict[str, Any] = msgspec.json.decode(zlib.decompress(packed))
    return found
