"""KubeAI's PrefixHash: consistent hashing with bounded loads, as published. Pure.

internal/loadbalancer/balance_chwbl.go and api/openai/v1 of github.com/kubeai-project/kubeai, with
the defaults of its custom resource: the key is the beginning of the first user message.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import xxhash

PREFIX_CHARACTERS: Final = 100
REPLICATION: Final = 256  # places on the ring per endpoint
LOAD_FACTOR: Final = 1.25  # of the mean; above it the next endpoint on the ring is asked


@dataclass(frozen=True)
class Ring:
    hashes: tuple[int, ...]  # ascending
    names: tuple[str, ...]  # of the endpoint at each of them


def ring(names: Sequence[str], replication: int = REPLICATION) -> Ring:
    places = sorted({hashed(place(name, turn)): name for name in names
                     for turn in range(replication)}.items())  # fmt: skip
    return Ring(tuple(one for one, _ in places), tuple(name for _, name in places))


def place(name: str, turn: int) -> str:
    """What is hashed for one place of an endpoint on the ring."""
    return f"{name}{turn}"


def choose(
    ring: Ring, key: int, in_flight: Mapping[str, int], load_factor: float = LOAD_FACTOR
) -> str:
    """The first endpoint at or behind the hash whose load is bounded; else the first of all."""
    start = bisect_left(ring.hashes, key) % len(ring.hashes)
    count = len(set(ring.names))
    total = sum(in_flight.values())
    for step in range(len(ring.hashes)):
        name = ring.names[(start + step) % len(ring.hashes)]
        if load_is_bounded(in_flight.get(name, 0), total, count, load_factor):
            return name
    return ring.names[start]


def load_is_bounded(load: int, total: int, count: int, load_factor: float) -> bool:
    """With the new request counted in the mean, and not in the endpoint's own load."""
    return total == 0 or load <= (total + 1) / count * load_factor


def prefix(body: Mapping[str, Any], characters: int = PREFIX_CHARACTERS) -> str:
    """The beginning of a completion's prompt, or of a chat's first user message."""
    if "messages" not in body:
        return str(body.get("prompt", ""))[:characters]
    for message in body["messages"]:
        if message.get("role") == "user":
            return _text(message.get("content"))[:characters]
    return ""


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content)


def hashed(text: str) -> int:
    return xxhash.xxh64_intdigest(text.encode())
