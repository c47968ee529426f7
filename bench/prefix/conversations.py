"""Conversations of several turns, each of which sends all that was said before. Pure.

A system prompt is common to all. A first message is long and its user's own, or it opens with words
that all users send, as an application's template does.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.prefix.model import VOCABULARY

CONVERSATIONS: Final = 12
TURNS: Final = 5
SYSTEM_TOKENS: Final = 128
FIRST_TOKENS: Final = 512
LATER_TOKENS: Final = 64
ANSWER_TOKENS: Final = 24
# More than the hundred characters that KubeAI looks at.
OPENING_TOKENS: Final = 32
BLOCK_TOKENS: Final = 128
# Of all conversations, in one replica's cache: they fit two and not one.
CACHE_SHARE: Final = 0.65
# Between an answer and the next question, drawn for each.
THINK_SECONDS: Final = (0.3, 2.0)

Message = dict[str, str]


@dataclass(frozen=True)
class Conversation:
    """`questions[n]` is asked `pauses[n]` seconds after the answer before it."""

    system: str
    questions: tuple[str, ...]
    pauses: tuple[float, ...]

    def messages(self, turn: int, answers: Sequence[str]) -> list[Message]:
        """What is sent at `turn`, with the `answers` to the turns before."""
        found = [{"role": "system", "content": self.system}]
        for number, question in enumerate(self.questions[: turn + 1]):
            found.append({"role": "user", "content": question})
            if number < turn:
                found.append({"role": "assistant", "content": answers[number]})
        return found


@dataclass(frozen=True)
class Workload:
    name: str
    opening: bool  # all first messages begin alike
    conversations: tuple[Conversation, ...] = field(repr=False)


def workload(seed: int, *, opening: bool, users: int = CONVERSATIONS) -> Workload:
    dice = random.Random(seed)  # noqa: S311 -- a workload, the same each time
    system = _words(dice, SYSTEM_TOKENS)
    common = _words(dice, OPENING_TOKENS) if opening else ""
    made = tuple(_conversation(dice, system, common) for _ in range(users))
    return Workload("one template" if opening else "own first messages", opening, made)


def tokens_at_end() -> int:
    """Of all conversations together, the common system prompt once."""
    each = FIRST_TOKENS + (TURNS - 1) * LATER_TOKENS + TURNS * ANSWER_TOKENS
    return SYSTEM_TOKENS + CONVERSATIONS * each


def cache_blocks() -> int:
    """Of one replica."""
    return int(tokens_at_end() * CACHE_SHARE / BLOCK_TOKENS)


def highest_hit_rate(block_tokens: int) -> float:
    """Of one endless cache that forgets nothing: what no policy can better.

    Whole blocks only. The last token of an answer was never computed, so it is in no cache.
    """
    hits = queries = 0
    before = SYSTEM_TOKENS  # known of every conversation, from whoever came first
    for turn in range(TURNS):
        prompt = SYSTEM_TOKENS + FIRST_TOKENS + turn * (LATER_TOKENS + ANSWER_TOKENS)
        hits += before // block_tokens * block_tokens
        queries += prompt
        before = prompt + ANSWER_TOKENS - 1
    return hits / queries


def _conversation(dice: random.Random, system: str, common: str) -> Conversation:
    own = FIRST_TOKENS - len(common.split())
    first = f"{common} {_words(dice, own)}".strip()
    later = [_words(dice, LATER_TOKENS) for _ in range(TURNS - 1)]
    pauses = tuple(dice.uniform(*THINK_SECONDS) for _ in range(TURNS))
    return Conversation(system, (first, *later), pauses)


def _words(dice: random.Random, count: int) -> str:
    return " ".join(f"w{dice.randrange(1, VOCABULARY)}" for _ in range(count))
