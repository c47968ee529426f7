"""The blocks of a paged KV cache, as vLLM's block pool keeps them. Pure.

A full block of tokens is known by a hash that covers everything before it, so that a later request
with the same beginning finds it. A block that nobody holds stays findable until its place is
needed; the one that has been idle longest goes first.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from itertools import takewhile

_HASH_BYTES = 8


def chained(tokens: Sequence[str], block_tokens: int) -> tuple[bytes, ...]:
    """The hash of each full block of `tokens`; it depends on all tokens up to the block's end."""
    return tuple(_chain(tokens, block_tokens))


def _chain(tokens: Sequence[str], block_tokens: int) -> Iterator[bytes]:
    parent = b""
    for end in range(block_tokens, len(tokens) + 1, block_tokens):
        block = "\0".join(tokens[end - block_tokens : end]).encode()
        parent = hashlib.blake2b(parent + block, digest_size=_HASH_BYTES).digest()
        yield parent


class Blocks:
    """`size` blocks, each blank, held by sequences (some under a hash), or idle under its hash."""

    def __init__(self, size: int, *, caching: bool = True) -> None:
        self.size = size
        self.held = 0
        self._caching = caching
        self._holders: dict[Hashable, int] = {}
        self._idle: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def free(self) -> int:
        """Blocks that can be taken, idle ones among them."""
        return self.size - self.held

    def known(self, hashes: Sequence[Hashable]) -> int:
        """How many leading blocks of `hashes` are here."""
        here = takewhile(lambda one: one in self._holders or one in self._idle, hashes)
        return sum(1 for _ in here)

    def fits(self, shared: Sequence[Hashable], blank: int) -> bool:
        """Whether `shared`, which are known, can be held and `blank` more be taken."""
        return sum(one in self._idle for one in shared) + blank <= self.free

    def share(self, hashes: Sequence[Hashable]) -> None:
        """Hold blocks that are known."""
        for one in hashes:
            if one in self._idle:
                del self._idle[one]
                self.held += 1
            self._holders[one] = self._holders.get(one, 0) + 1

    def take(self, count: int) -> None:
        """Hold `count` blocks without a hash; the longest idle ones make room."""
        if count > self.free:
            raise ValueError(f"{count} blocks wanted, {self.free} free")
        self.held += count
        while len(self._idle) > self.free:
            self._idle.popitem(last=False)

    def name(self, block: Hashable) -> bool:
        """Make a held block without a hash findable; False if one like it is here already."""
        if not self._caching or block in self._holders or block in self._idle:
            return False
        self._holders[block] = 1
        return True

    def release(self, blocks: Sequence[Hashable | None]) -> None:
        """Give up a sequence's blocks, None for one without a hash; its tail is evicted first."""
        for one in reversed(blocks):
            if one is None:
                self.held -= 1
                continue
            self._holders[one] -= 1
            if not self._holders[one]:
                del self._holders[one]
                self.held -= 1
                self._idle[one] = None
