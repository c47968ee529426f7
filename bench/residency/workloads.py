"""Pools and the requests that come to them.

Users hold sessions: one picks a model, some far more often than others, and asks it a few times
with a pause between an answer and the next question. Load times are those of weights over a disk
(1 GiB/s) on top of what every start costs; cards are 24 GiB.
"""

import random
from dataclasses import dataclass
from typing import Final

from bench.residency.world import Request, Setup
from berth_operator.core.residency.pool import Engine, PodRoom, Policy

GIB: Final = 2**30
POLICY: Final = Policy(min_residency_seconds=20.0, starvation_seconds=60.0)
KEEP_ALIVE_SECONDS: Final = 300.0  # Ollama's default
START_SECONDS: Final = 10.0  # of an engine without weights
ANSWER_SECONDS: Final = 4.0
LONGEST_ANSWER_SECONDS: Final = 40.0
PAUSE_SECONDS: Final = 8.0
TURNS: Final = 5  # of a session, on average


@dataclass(frozen=True)
class Workload:
    name: str
    cards: tuple[tuple[int, ...], ...]  # of each pod, GiB
    engines: tuple[tuple[int, int], ...]  # of each: GiB a card, cards
    sessions_per_hour: float
    popularity: float = 1.0  # Zipf's exponent
    hours: float = 2.0

    def setup(self) -> Setup:
        pods = tuple(
            PodRoom(f"pod-{number}", tuple(GIB * one for one in cards))
            for number, cards in enumerate(self.cards)
        )
        return Setup(POLICY, pods, tuple(_engine(*one) for one in enumerate(self.engines)))

    def draw(self, seed: int) -> list[Request]:
        rng = random.Random(seed)
        names = [f"engine-{number}" for number in range(len(self.engines))]
        rng.shuffle(names)  # the most wanted is not always the first by name
        weights = [1 / (rank + 1) ** self.popularity for rank in range(len(names))]
        requests: list[Request] = []
        now = 0.0
        while (now := now + rng.expovariate(self.sessions_per_hour / 3600)) < self.hours * 3600:
            requests += _session(rng, rng.choices(names, weights)[0], now)
        return sorted(requests, key=lambda one: one.arrived)


def _engine(number: int, of: tuple[int, int]) -> Engine:
    gib, cards = of
    return Engine(
        f"engine-{number}",
        (f"model-{number}",),
        card_bytes=gib * GIB,
        load_seconds=START_SECONDS + gib * cards,
        cards=cards,
        keep_alive_seconds=KEEP_ALIVE_SECONDS,
    )


def _session(rng: random.Random, engine: str, now: float) -> list[Request]:
    """Its questions come when they would if nothing had to wait."""
    asked = []
    for _ in range(1 + int(rng.expovariate(1 / (TURNS - 1)))):
        serves = min(rng.expovariate(1 / ANSWER_SECONDS), LONGEST_ANSWER_SECONDS)
        asked.append(Request(engine, now, serves))
        now += serves + rng.expovariate(1 / PAUSE_SECONDS)
    return asked


WORKLOADS: Final = (
    Workload("two models, one card", ((24,),), ((16, 1), (16, 1)), 60, popularity=0.0),
    Workload("five models, room for two", ((24, 24),), ((16, 1),) * 5, 90),
    Workload(
        "twelve models of four sizes, two pods",
        ((24, 24), (24, 24)),
        ((4, 1),) * 4 + ((8, 1),) * 3 + ((16, 1),) * 3 + ((20, 2),) * 2,
        240,
    ),
)
