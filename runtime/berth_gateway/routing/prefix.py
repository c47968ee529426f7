"""The policy PrefixAware: prompts that begin alike go where the beginning is cached already.

An engine keeps the KV blocks of what it has computed; a conversation's next turn begins with all
the turns before. So the gateway remembers, by hashes of growing pieces of each prompt, which
endpoints have seen how much of it. What an endpoint has not seen it has to compute, behind what
waits there to be computed already: the request goes where that sum, in bytes, is least, and to none
that is clearly busier than another. So a cached prefix is given up exactly where waiting for it
costs more than computing it again.

Among equals a prompt has a home by rendezvous hashing over its opening, up to the end of the first
user message: the same at every gateway, and for most openings the same after an endpoint has come
or gone. KubeAI's bounded-load hashing (docs/concepts/load-balancing.md there)
looks at 100 characters of that message and at nothing else.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

import xxhash

from berth_api.server import QUEUE_PER_SEQUENCE
from berth_gateway.routing.pick import NoneLeft, NoRoom, Picked, View, candidates
from berth_gateway.routing.snapshot import Endpoint

# Pieces end every 256 bytes (about 64 tokens, four blocks of vLLM) at first, then further apart:
# at most an eighth of what is alike goes unseen, and a megabyte has 61 pieces.
_FIRST_PIECE_BYTES: Final = 256
_PIECE_GROWTH: Final = 8
MAX_PREFIX_BYTES: Final = 2**20  # some 250,000 tokens; what lies behind decides nothing

# An endpoint that has seen this share of a prompt is worth going to. Of less there is more to
# compute than to save, and it is more likely to be what all prompts of an application begin with.
_WORTH: Final = 0.5
# What a request in flight costs its neighbours, as bytes of prompt: some 30 tokens.
_REQUEST_BYTES: Final = 128
# Costs that differ by no more, some 60 tokens, are equal.
_EQUAL_BYTES: Final = 256
# An endpoint is clearly busier with this many times the mean in flight, ...
_BUSY_FACTOR: Final = 2.0
# ... and as many more than the least busy: below that a batch hardly feels them.
_BUSY_REQUESTS: Final = 8
# A home that has taken more than so many times the mean of new prompts forgets them sooner.
_FULL_FACTOR: Final = 1.25
# Pieces kept for a model: 500 conversations of 100 KB, about 4 MB.
MEMORY_PIECES: Final = 20_000
_MAX_HOLDERS: Final = 4  # endpoints remembered for one piece, the latest first

_MASK: Final = 2**64 - 1
_SPREAD: Final = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, as Knuth has it


def _ends() -> Iterator[int]:
    end = 0
    while end < MAX_PREFIX_BYTES:
        grown = end // _PIECE_GROWTH // _FIRST_PIECE_BYTES * _FIRST_PIECE_BYTES
        end += max(grown, _FIRST_PIECE_BYTES)
        yield end


_ENDS: Final = tuple(_ends())
_PIECES: Final = tuple(pairwise((0, *_ENDS)))


class Affinity(NamedTuple):
    """What a prompt begins like."""

    pieces: tuple[int, ...]  # hash of everything up to the end of each piece
    size: int  # bytes
    opening: int  # hash up to the end of the first user message
    opening_size: int = 0  # bytes


def affinity(prefix: bytes) -> Affinity:
    """`prefix` is the prompt as it came: role and content of each message in JSON, or a string.

    The last piece is not whole: the same bytes would be cut elsewhere by the next turn, so it is
    left out.
    """
    size = len(prefix)
    view, chained, pieces = memoryview(prefix), 0, []
    for start, end in _PIECES:
        if end > size:
            break
        chained = xxhash.xxh3_64_intdigest(view[start:end], chained)
        pieces.append(chained)
    opening = _opening(prefix)
    return Affinity(tuple(pieces), size, xxhash.xxh3_64_intdigest(opening), len(opening))


_USER: Final = b'"user"'
_ASSISTANT: Final = b'"assistant"'
_OPENING_BYTES: Final = 2**16  # a system prompt of 16,000 tokens; the search costs 40 us


def _opening(prefix: bytes) -> bytes:
    """Up to the end of the first user message, alike in every turn of a conversation.

    A search is enough: in a message's own text, which is JSON, quotation marks are escaped.
    """
    user = prefix.find(_USER, 0, _OPENING_BYTES)
    answer = prefix.find(_ASSISTANT, user, _OPENING_BYTES) if user >= 0 else -1
    return prefix[: _OPENING_BYTES if answer < 0 else answer]


class Memory:
    """Which endpoints have seen which pieces. Bounded: what was not met for longest goes first.

    Two generations stand for an exact order: a piece that is met moves to the young one, and when
    that is full it becomes the old one, whose pieces are dropped. At least half of the bound is
    always kept, and no look-up pays for the order.
    """

    def __init__(self, pieces: int = MEMORY_PIECES) -> None:
        self._half = max(pieces // 2, 1)
        self._young = _Generation()
        self._old = _Generation()

    def __len__(self) -> int:
        return len(self._young.holders) + len(self._old.holders)

    def holders(self, piece: int) -> tuple[str, ...]:
        """Keys of the endpoints that have seen it, the latest first."""
        return self._young.holders.get(piece) or self._old.holders.get(piece, ())

    def seen(self, asked: Affinity) -> dict[str, int]:
        """Bytes of the prompt's beginning by endpoint key, where it is worth going there for them.

        Whoever has seen one piece has seen all before it.
        """
        found: dict[str, int] = {}
        for number in range(len(asked.pieces) - 1, bisect_left(_ENDS, _WORTH * asked.size) - 1, -1):
            for key in self.holders(asked.pieces[number]):
                found.setdefault(key, _ENDS[number])
        for key in self.holders(asked.opening):
            found[key] = max(found.get(key, 0), asked.opening_size)
        return found

    def taken(self, key: str) -> int:
        """Pieces that were new to the endpoint: how full of this model's prompts its cache is."""
        return self._young.taken.get(key, 0) + self._old.taken.get(key, 0)

    @property
    def taken_in_all(self) -> int:
        return self._young.taken_in_all + self._old.taken_in_all

    def learn(self, seen: Affinity, key: str) -> None:
        """The endpoint is about to see all of it."""
        young, old, new = self._young.holders, self._old.holders, 0
        for piece in (*seen.pieces, seen.opening):
            known = young.get(piece) or old.pop(piece, ())
            new += key not in known
            if known[:1] != (key,):
                known = (key, *(one for one in known if one != key))[:_MAX_HOLDERS]
            young[piece] = known
        self._young.took(key, new)
        if len(young) >= self._half:
            self._old, self._young = self._young, _Generation()

    def keep_only(self, keys: AbstractSet[str]) -> None:
        """Forget endpoints that are gone, and the pieces that only they had seen."""
        self._young = self._young.of(keys)
        self._old = self._old.of(keys)


class _Generation:
    def __init__(self) -> None:
        self.holders: dict[int, tuple[str, ...]] = {}
        self.taken: dict[str, int] = {}
        self.taken_in_all = 0

    def took(self, key: str, pieces: int) -> None:
        self.taken[key] = self.taken.get(key, 0) + pieces
        self.taken_in_all += pieces

    def of(self, keys: AbstractSet[str]) -> "_Generation":
        """Of these endpoints only."""
        made = _Generation()
        for piece, known in self.holders.items():
            if kept := tuple(one for one in known if one in keys):
                made.holders[piece] = kept
        for key in self.taken.keys() & keys:
            made.took(key, self.taken[key])
        return made


def pick_by_prefix(
    endpoints: Sequence[Endpoint], view: View, asked: Affinity, memory: Memory
) -> Picked | NoRoom | NoneLeft:
    """The policy PrefixAware. The caller tells `memory` what it made of the choice."""
    found = candidates(endpoints, view)
    if isinstance(found, (NoRoom, NoneLeft)):
        return found
    seen = memory.seen(asked)
    near = _soonest(_not_busier(found, view), view, asked, seen)
    known = max(seen.get(one.key, 0) for one in near)
    near = [one for one in near if seen.get(one.key, 0) == known]
    one = _home(near, asked, memory, len(found))
    rule = f"has seen {known} bytes" if known else "home"
    return Picked(one, rule, view.in_flight.get(one.key, 0), len(found), asked.size - known)


def _not_busier(found: Sequence[Endpoint], view: View) -> Sequence[Endpoint]:
    """Without those that are clearly busier, or whose batch is full while another's is not."""
    get = view.in_flight.get
    counts = [get(one.key, 0) for one in found]
    least, mean = min(counts), (sum(counts) + 1) / len(counts)
    limit = max(_BUSY_FACTOR * mean, least + _BUSY_REQUESTS)
    batch = limit if view.room is None else view.room // (1 + QUEUE_PER_SEQUENCE)
    limit = min(limit, batch) if least < batch else limit
    return [one for one, count in zip(found, counts, strict=True) if count < limit] or found


def _soonest(
    found: Sequence[Endpoint], view: View, asked: Affinity, seen: Mapping[str, int]
) -> Sequence[Endpoint]:
    """Where the prompt will have been computed first, and those that are as good."""
    computing, in_flight = view.computing.get, view.in_flight.get
    costs = [
        computing(one.key, 0)
        + asked.size
        - seen.get(one.key, 0)
        + _REQUEST_BYTES * in_flight(one.key, 0)
        for one in found
    ]
    most = min(costs) + _EQUAL_BYTES
    return [one for one, cost in zip(found, costs, strict=True) if cost <= most]


def _home(near: Sequence[Endpoint], asked: Affinity, memory: Memory, count: int) -> Endpoint:
    """Where prompts with this opening go, at every gateway; of those that are not fuller."""
    opening, most = asked.opening, _FULL_FACTOR * memory.taken_in_all / count
    near = [one for one in near if memory.taken(one.key) <= most] or near
    claims = [(opening ^ _seed(one.key)) * _SPREAD & _MASK for one in near]
    return near[claims.index(max(claims))]


@lru_cache(maxsize=4096)
def _seed(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode())
