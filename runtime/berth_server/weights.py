"""The header of a safetensors file: eight bytes of length, then JSON. Pure.

Format: https://huggingface.co/docs/safetensors. Headers come from strangers, so every number in
them is checked before it is used.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LENGTH_BYTES: Final = 8
# The format's own limit; a header of the largest models known is some 20 MB.
MAX_HEADER_BYTES: Final = 100_000_000
SUFFIX: Final = ".safetensors"
INDEX: Final = "model.safetensors.index.json"
_METADATA: Final = "__metadata__"
_MAX_DTYPE_CHARACTERS: Final = 16


class HeaderError(ValueError):
    """These bytes are no safetensors header."""


@dataclass(frozen=True)
class Tensors:
    """What a header, or several, describe: bytes by dtype (BF16, F8_E4M3, ...) and a count."""

    bytes_by_dtype: Mapping[str, int] = field(default_factory=dict)
    count: int = 0
    data_bytes: int = 0  # of the files' data sections, also where a file is cut short

    def __add__(self, other: "Tensors") -> "Tensors":
        dtypes = self.bytes_by_dtype.keys() | other.bytes_by_dtype.keys()
        total = {
            dtype: self.bytes_by_dtype.get(dtype, 0) + other.bytes_by_dtype.get(dtype, 0)
            for dtype in sorted(dtypes)
        }
        return Tensors(total, self.count + other.count, self.data_bytes + other.data_bytes)


def header_bytes(start: bytes) -> int:
    """The header's length, from a file's first eight bytes. Raises HeaderError."""
    if len(start) < LENGTH_BYTES:
        raise HeaderError(f"the file has {len(start)} bytes")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if not 1 < length <= MAX_HEADER_BYTES:
        raise HeaderError(f"the header's length is given as {length} bytes")
    return length


def read(header: bytes) -> Tensors:
    """The tensors of one file, from its header without the length. Raises HeaderError."""
    try:
        entries = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise HeaderError("the header is no JSON") from error
    if not isinstance(entries, dict):
        raise HeaderError("the header is no JSON object")
    tensors = [_tensor(name, entry) for name, entry in entries.items() if name != _METADATA]
    total: dict[str, int] = {}
    for dtype, start, end in tensors:
        total[dtype] = total.get(dtype, 0) + end - start
    data_bytes = max((end for _, _, end in tensors), default=0)
    return Tensors(dict(sorted(total.items())), len(tensors), data_bytes)


def indexed(index: bytes) -> frozenset[str] | None:
    """The files that a sharded model's index names; None if it cannot be read.

    A repository may hold more files: a copy in another precision, or an adapter.
    """
    try:
        shards = frozenset(json.loads(index)["weight_map"].values())
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return shards if shards and all(isinstance(shard, str) for shard in shards) else None


def _tensor(name: str, entry: Any) -> tuple[str, int, int]:
    match entry:
        case {"dtype": str(dtype), "data_offsets": [int(start), int(end)]} if (
            0 <= start <= end and 0 < len(dtype) <= _MAX_DTYPE_CHARACTERS
        ):
            return dtype, start, end
    raise HeaderError(f"tensor {name[:80]!r} is not described as it must be")
