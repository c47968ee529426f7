"""How requests ended that ran through two gateways while these were killed now and then. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.cluster.traffic import End, Result


@dataclass(frozen=True)
class Kill:
    """Of the process `name`, and when its successor was ready: seconds of one clock."""

    name: str
    at: float
    ready_at: float


@dataclass(frozen=True)
class Through:
    """The requests through one gateway, whose times count from `started` on the kills' clock."""

    gateway: str
    started: float
    results: Sequence[Result]


@dataclass(frozen=True)
class Outcome:
    through: Sequence[Through]
    kills: Sequence[Kill]

    def lost(self) -> list[str]:
        """Requests without a whole answer that no kill of their own gateway excuses."""
        return [
            f"{each.gateway}: {one.ask.model} {one.end.value} at {one.at:.1f} s, {one.detail}"
            for each in self.through
            for one in each.results
            if one.end is not End.WHOLE and not self._was_cut(each, one)
        ]

    def _was_cut(self, through: Through, one: Result) -> bool:
        began = through.started + one.at
        return any(
            began <= kill.ready_at and began + one.total >= kill.at
            for kill in self.kills
            if kill.name == through.gateway
        )

    def waits(self) -> list[float]:
        """Seconds until the first byte, of all that were answered; the shortest first."""
        firsts = (one.first_byte for one in self._all if one.first_byte is not None)
        return sorted(firsts)

    @property
    def _all(self) -> list[Result]:
        return [one for each in self.through for one in each.results]

    def __str__(self) -> str:
        ended = [one.end for one in self._all]
        whole, waits = ended.count(End.WHOLE), self.waits()
        return (
            f"{whole} requests answered whole, {len(ended) - whole} tries that ended with their "
            "gateway or came before it was back; first bytes after "
            f"{waits[len(waits) // 2]:.2f} s in the median, {waits[-1]:.1f} s at most; "
            f"{len(self.kills)} kills"
        )
