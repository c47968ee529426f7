"""Which endpoint takes a request: filters, then scorers, then the best, with the reason."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from berth_gateway.routing.snapshot import Endpoint


@dataclass(frozen=True, slots=True)
class View:
    """What a choice may depend on besides the endpoints themselves."""

    in_flight: Mapping[str, int] = field(default_factory=dict)  # requests, by endpoint key
    ejected: AbstractSet[str] = frozenset()  # endpoint keys that failed lately
    failed: AbstractSet[str] = frozenset()  # endpoint keys that this request will not try again
    turn: int = 0  # differs from request to request, so that equals take turns


@dataclass(frozen=True, slots=True)
class Picked:
    endpoint: Endpoint
    why: str


@dataclass(frozen=True, slots=True)
class NoneLeft:
    why: str


Filter = Callable[[Endpoint, View], bool]
Scorer = Callable[[Endpoint, View], float]  # lower is better


def not_failed(endpoint: Endpoint, view: View) -> bool:
    return endpoint.key not in view.failed


def not_ejected(endpoint: Endpoint, view: View) -> bool:
    return endpoint.key not in view.ejected


def in_flight(endpoint: Endpoint, view: View) -> float:
    return view.in_flight.get(endpoint.key, 0)


# A later scorer only decides between those that the earlier ones hold equal.
SCORERS: Final[tuple[Scorer, ...]] = (in_flight,)


def pick(endpoints: Sequence[Endpoint], view: View) -> Picked | NoneLeft:
    """Least in flight; among equals, by turns.

    An ejected endpoint is chosen only when all that this request may try are ejected: a guess is
    better than a certain refusal.
    """
    untried = [endpoint for endpoint in endpoints if not_failed(endpoint, view)]
    if not untried:
        return NoneLeft(f"{len(endpoints)} endpoints, none left to try")
    sound = [endpoint for endpoint in untried if not_ejected(endpoint, view)]
    best = _best(sound or untried, view)
    chosen = best[view.turn % len(best)]
    score = view.in_flight.get(chosen.key, 0)
    why = f"least in flight ({score}) of {len(untried)}"
    return Picked(chosen, why if sound else why + ", all ejected")


def _best(endpoints: Sequence[Endpoint], view: View) -> list[Endpoint]:
    scores = [tuple(scorer(endpoint, view) for scorer in SCORERS) for endpoint in endpoints]
    lowest = min(scores)
    return [one for one, score in zip(endpoints, scores, strict=True) if score == lowest]
