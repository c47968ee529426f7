"""Who holds how much of which card. Pure.

On CPU the pod's memory is one card, HOST. A share is granted from before its engine starts until
its memory was seen to be free again; what is granted never sums past what a card has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from berth_api.pool_server import EngineOrder

# The index of the one card that a pod on CPU has.
HOST: Final = 0
# Contexts and the driver's own tables come and go by so much with nobody's doing.
SLACK_BYTES: Final = 256 * 2**20


@dataclass(frozen=True)
class Share:
    """`size` bytes of each of `cards`. `took` is what its engine was seen to take of a card."""

    cards: tuple[int, ...]
    size: int
    took: int = 0

    def overlaps(self, cards: Iterable[int]) -> bool:
        return not set(self.cards).isdisjoint(cards)


@dataclass(frozen=True)
class Ledger:
    """`totals` are bytes by card."""

    totals: Mapping[int, int]
    shares: tuple[Share, ...] = ()

    def granted(self, card: int) -> int:
        return sum(share.size for share in self.shares if card in share.cards)

    def room(self, card: int) -> int:
        return self.totals[card] - self.granted(card)

    def lacking(self, share: Share) -> int | None:
        """The first card of `share` without room for it; None if all have it."""
        return next((card for card in share.cards if self.room(card) < share.size), None)

    def granting(self, share: Share) -> "Ledger":
        """Raises ValueError rather than promise what a card does not have."""
        if (card := self.lacking(share)) is not None:
            raise ValueError(f"card {card} has {self.room(card)} bytes left, not {share.size}")
        return Ledger(self.totals, (*self.shares, share))

    def least_free(self, card: int, idle_bytes: int) -> int:
        """What the driver must count as free on `card` if nobody but the shares' holders use it.

        `idle_bytes` were in use before any engine. A neighbour may use all of its share, and what
        it was seen to take beyond it is not held against another one.
        """
        used = sum(max(share.size, share.took) for share in self.shares if card in share.cards)
        return max(0, self.totals[card] - idle_bytes - used - SLACK_BYTES)


def share_of(order: EngineOrder) -> Share:
    return Share(tuple(order.cards) or (HOST,), order.memory_bytes)
