"""What every design does with a request beside moving bytes: key, model, choice, counters."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

FORWARDED: Final = (b"content-type", b"accept")
HOP_BY_HOP: Final = frozenset({b"connection", b"date", b"server", b"transfer-encoding"})


class _Fields(msgspec.Struct, gc=False):
    model: str


_DECODER: Final = msgspec.json.Decoder(_Fields)


class Policy:
    def __init__(self, keys: Path, endpoints: Sequence[str]) -> None:
        """`endpoints` are host:port; `keys` has one key a line."""
        lines = keys.read_bytes().split()
        self._digests = frozenset(hashlib.sha256(line).digest() for line in lines)
        self.in_flight = dict.fromkeys(endpoints, 0)
        self.requests: dict[str, int] = defaultdict(int)  # by model

    def admits(self, headers: Mapping[bytes, bytes]) -> bool:
        key = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        return hashlib.sha256(key).digest() in self._digests

    def take(self, body: bytes) -> str:
        """Count the request, and the endpoint that gets it: one with the fewest in flight."""
        self.requests[_DECODER.decode(body).model] += 1
        endpoint = min(self.in_flight, key=self.in_flight.__getitem__)
        # To the end of the line, so that equals take turns.
        self.in_flight[endpoint] = self.in_flight.pop(endpoint) + 1
        return endpoint

    def done(self, endpoint: str) -> None:
        self.in_flight[endpoint] -= 1
