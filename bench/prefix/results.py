"""What a policy gave: the cache's hits by the engines' own count, and the users' waits. Pure."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.prefix.conversations import ANSWER_TOKENS
from bench.prefix.play import Turn

_HITS: Final = "vllm:prefix_cache_hits_total"
_QUERIES: Final = "vllm:prefix_cache_queries_total"


@dataclass(frozen=True)
class Cache:
    """Tokens, counted since the engines' start."""

    hits: float
    queries: float

    def since(self, before: "Cache") -> "Cache":
        return Cache(self.hits - before.hits, self.queries - before.queries)


@dataclass(frozen=True)
class Round:
    """One policy, once through the workload."""

    turns: tuple[Turn, ...]
    caches: tuple[Cache, ...]  # by replica
    seconds: float

    @property
    def served(self) -> list[float]:
        """Seconds to the first token, of the answers that came whole."""
        return [turn.first for turn in self.turns if turn.first is not None]

    @property
    def hit_rate(self) -> float:
        return sum(one.hits for one in self.caches) / sum(one.queries for one in self.caches)

    def __str__(self) -> str:
        return f"{self.hit_rate:.1%} hits, {len(self.served)} served in {self.seconds:.1f} s"

    @property
    def tokens_per_second(self) -> float:
        return len(self.served) * ANSWER_TOKENS / self.seconds


def cache(pages: Sequence[str]) -> tuple[Cache, ...]:
    return tuple(Cache(_sum(page, _HITS), _sum(page, _QUERIES)) for page in pages)


def _sum(page: str, name: str) -> float:
    found = re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", page, re.MULTILINE)
    return sum(map(float, found))


HEAD: Final = (
    "| policy | rounds | requests | served | hit rate | first token mean, s | p50 | p90 "
    "| mean, by round | tokens/s |\n|---|---:|---:|---:|---:|---:|---:|---:|---|---:|"
)


def table(found: Mapping[str, Sequence[Round]]) -> str:
    return "\n".join([HEAD, *(_line(name, rounds) for name, rounds in found.items())])


def _line(name: str, rounds: Sequence[Round]) -> str:
    """All rounds' requests together; the means of the rounds show how far they lie apart."""
    turns = [turn for one in rounds for turn in one.turns]
    served = sorted(first for one in rounds for first in one.served)
    means = " ".join(f"{statistics.mean(one.served):.2f}" for one in rounds if one.served)
    hits = statistics.mean(one.hit_rate for one in rounds)
    rate = statistics.mean(one.tokens_per_second for one in rounds)
    return (
        f"| {name} | {len(rounds)} | {len(turns)} | {len(served) / len(turns):.1%} | {hits:.1%} "
        f"| {statistics.mean(served):.3f} | {quantile(served, 0.5):.3f} "
        f"| {quantile(served, 0.9):.3f} | {means} | {rate:.0f} |"
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank; `ordered` is ascending and not empty."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
