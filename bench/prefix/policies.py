"""The policies under test, each as the two functions that the gateway's data path calls.

`affinity` turns a prompt into what the choice may look at, once per request; `pick` chooses.
Everything around them, what is filtered, counted, learnt and held, is the gateway's own.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bench.prefix import chwbl
from berth_gateway.routing.pick import (
    NoneLeft,
    NoRoom,
    Picked,
    View,
    candidates,
    least_in_flight,
)
from berth_gateway.routing.prefix import Affinity, Memory, affinity, pick_by_prefix
from berth_gateway.routing.snapshot import Endpoint

Pick = Callable[[Sequence[Endpoint], View, Affinity, Memory], Picked | NoRoom | NoneLeft]
Choose = Callable[[Sequence[Endpoint], View, Affinity], Picked]


@dataclass(frozen=True)
class Policy:
    affinity: Callable[[bytes], Affinity]
    pick: Pick


def _among_candidates(choose: Choose) -> Pick:
    def pick(
        endpoints: Sequence[Endpoint], view: View, asked: Affinity, memory: Memory
    ) -> Picked | NoRoom | NoneLeft:
        del memory
        found = candidates(endpoints, view)
        return found if isinstance(found, (NoRoom, NoneLeft)) else choose(found, view, asked)

    return pick


def _next(found: Sequence[Endpoint], view: View, asked: Affinity) -> Picked:
    del asked
    return _picked(found, view, view.turn % len(found), "round-robin")


def _least(found: Sequence[Endpoint], view: View, asked: Affinity) -> Picked:
    del asked
    return least_in_flight(found, view)


def _kubeai_key(prompt: bytes) -> Affinity:
    """The hash of KubeAI's prefix stands where Berth's own opening does."""
    key = chwbl.hashed(chwbl.prefix({"messages": json.loads(prompt)}))
    return Affinity((), len(prompt), key)


def _bounded(found: Sequence[Endpoint], view: View, asked: Affinity) -> Picked:
    names = tuple(one.key for one in found)
    chosen = chwbl.choose(_ring(names), asked.opening, view.in_flight)
    return _picked(found, view, names.index(chosen), "hashed")


@lru_cache(maxsize=16)
def _ring(names: tuple[str, ...]) -> chwbl.Ring:
    return chwbl.ring(names)


def _picked(found: Sequence[Endpoint], view: View, place: int, rule: str) -> Picked:
    one = found[place]
    return Picked(one, rule, view.in_flight.get(one.key, 0), len(found))


POLICIES: Mapping[str, Policy] = {
    "round-robin": Policy(affinity, _among_candidates(_next)),
    "LeastInFlight": Policy(affinity, _among_candidates(_least)),
    "KubeAI PrefixHash": Policy(_kubeai_key, _among_candidates(_bounded)),
    "PrefixAware": Policy(affinity, pick_by_prefix),
}
