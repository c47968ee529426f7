"""The header of a safetensors file: eight bytes of length, then JSON. Pure.

Format: https://huggingface.co/docs/safetensors. Headers come from strangers, so every number in
them is checked before it is used.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from berth_api.shape import MOST_BYTES
from berth_server import parts, strangers_json

LENGTH_BYTES: Final = 8
# The format's own limit; a header of the largest models known is some 20 MB.
MAX_HEADER_BYTES: Final = 100_000_000
# The index of the largest models is a few MB.
MAX_INDEX_BYTES: Final = 64 * 2**20
SUFFIX: Final = ".safetensors"
INDEX: Final = "model.safetensors.index.json"
_METADATA: Final = "__metadata__"
_MAX_DTYPE_CHARACTERS: Final = 16
# Ten times the longest known; matching a name takes time that grows with its square.
_MAX_NAME_CHARACTERS: Final = 512
_MAX_DIMENSIONS: Final = 16
# Beyond any checkpoint, and below what a float cannot count.
_MAX_TOTAL_BYTES: Final = MOST_BYTES
# Bits of one element, by the format's dtypes; of one that is newer than this table at least one.
_BITS: Final = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32,
    "F16": 16, "BF16": 16, "I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
_NOTHING: Final = parts.Facts()


class HeaderError(ValueError):
    """These bytes are no safetensors header."""


Parts = Mapping[str, Mapping[str, int]]
"""Bytes by part and dtype."""


@dataclass(frozen=True)
class Tensors:
    """What a header, or several, describe: bytes by dtype (BF16, F8_E4M3, ...) and a count."""

    bytes_by_dtype: Mapping[str, int] = field(default_factory=dict)
    count: int = 0
    data_bytes: int = 0  # of the files' data sections, also where a file is cut short
    bytes_by_part: Parts = field(default_factory=dict)

    def __add__(self, other: "Tensors") -> "Tensors":
        named = self.bytes_by_part.keys() | other.bytes_by_part.keys()
        return Tensors(
            _sum(self.bytes_by_dtype, other.bytes_by_dtype),
            self.count + other.count,
            self.data_bytes + other.data_bytes,
            {
                part: _sum(self.bytes_by_part.get(part, {}), other.bytes_by_part.get(part, {}))
                for part in sorted(named)
            },
        )


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {
        dtype: first.get(dtype, 0) + second.get(dtype, 0)
        for dtype in sorted(first.keys() | second.keys())
    }


def header_bytes(start: bytes) -> int:
    """The header's length, from a file's first eight bytes. Raises HeaderError."""
    if len(start) < LENGTH_BYTES:
        raise HeaderError(f"the file has {len(start)} bytes")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if not 1 < length <= MAX_HEADER_BYTES:
        raise HeaderError(f"the header's length is given as {length} bytes")
    return length


def read(header: bytes, known: parts.Facts = _NOTHING) -> Tensors:
    """What one file's tensors are together, from its header without the length.

    Raises HeaderError.
    """
    found = list(_entries(header))
    data_bytes = max((end for _, end in found), default=0)
    if sum(tensor.size_bytes for tensor, _ in found) > data_bytes:
        raise HeaderError("tensors lie over one another")
    return described((tensor for tensor, _ in found), known, data_bytes)


def tensors(header: bytes) -> tuple[parts.Tensor, ...]:
    """Each tensor of one file. Raises HeaderError."""
    return tuple(tensor for tensor, _ in _entries(header))


def _entries(header: bytes) -> Iterable[tuple[parts.Tensor, int]]:
    """Each tensor, and where its data end."""
    try:
        entries = strangers_json.loads(header)
    except ValueError as error:
        raise HeaderError(f"the header cannot be read as JSON: {error}") from error
    if not isinstance(entries, dict):
        raise HeaderError("the header is no JSON object")
    return (_tensor(name, entry) for name, entry in entries.items() if name != _METADATA)


def described(given: Iterable[parts.Tensor], known: parts.Facts, data_bytes: int = 0) -> Tensors:
    """What the `given` tensors are together."""
    total: dict[str, int] = {}
    by_part: dict[str, dict[str, int]] = {}
    count = 0
    for count, tensor in enumerate(given, 1):  # noqa: B007 -- the last one is the count
        total[tensor.dtype] = total.get(tensor.dtype, 0) + tensor.size_bytes
        for part, dtype, size in parts.split(tensor, known):
            if not size:
                continue
            sizes = by_part.setdefault(part, {})
            sizes[dtype] = sizes.get(dtype, 0) + size
    return Tensors(dict(sorted(total.items())), count, data_bytes, by_part)


def indexed(index: bytes) -> frozenset[str] | None:
    """The files that a sharded model's index names; None if it cannot be read.

    A repository may hold more files: a copy in another precision, or an adapter.
    """
    try:
        shards = frozenset(strangers_json.loads(index)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return shards if shards and all(isinstance(shard, str) for shard in shards) else None


def total_bytes(index: bytes) -> int | None:
    """What a sharded model's index says all its tensors take; None if it does not say."""
    try:
        total = strangers_json.loads(index)["metadata"]["total_size"]
    except (ValueError, KeyError, TypeError):
        return None
    number = isinstance(total, int | float) and not isinstance(total, bool)
    return int(total) if number and 0 < total < _MAX_TOTAL_BYTES else None


def _tensor(name: str, entry: Any) -> tuple[parts.Tensor, int]:
    """The tensor, and where its data end."""
    match entry:
        case {
            "dtype": str(dtype),
            "shape": list(shape),
            "data_offsets": [int(start), int(end)],
        } if (
            0 <= start <= end
            and end < _MAX_TOTAL_BYTES
            and 0 < len(dtype) <= _MAX_DTYPE_CHARACTERS
            and len(name) <= _MAX_NAME_CHARACTERS
            and len(shape) <= _MAX_DIMENSIONS
            and all(type(size) is int and 0 <= size < _MAX_TOTAL_BYTES for size in shape)
        ):
            tensor = parts.Tensor(name, dtype, tuple(shape), end - start)
            if _filled(tensor):
                return tensor, end
    raise HeaderError(f"tensor {name[:80]!r} is not described as it must be")


def _filled(tensor: parts.Tensor) -> bool:
    """Whether its elements take the bytes that it is given."""
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        return tensor.elements <= 8 * tensor.size_bytes
    return tensor.elements * bits == 8 * tensor.size_bytes
