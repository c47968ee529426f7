"""Which endpoint takes a request: filters, then a policy's choice among the rest, with the reason.

The bench's simulator is held equal to these functions by a test.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from berth_gateway.routing.snapshot import Endpoint

_NOBODY: Final = frozenset[str]()
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class View(NamedTuple):
    """What a choice may depend on besides the endpoints themselves. Sets are of endpoint keys."""

    in_flight: Mapping[str, int] = _NOTHING  # requests, by endpoint key
    ejected: AbstractSet[str] = _NOBODY  # failed lately
    paused: AbstractSet[str] = _NOBODY  # said a moment ago that they take no more
    failed: AbstractSet[str] = _NOBODY  # this request will not try them again
    room: int | None = None  # requests that one endpoint takes; None: any number
    turn: int = 0  # differs from request to request, so that equals take turns
    # Bytes of prompts that wait to be computed, by endpoint key, as far as a policy counts them.
    computing: Mapping[str, int] = _NOTHING


class Picked(NamedTuple):
    endpoint: Endpoint
    rule: str
    in_flight: int  # at the endpoint, before this request
    of: int  # endpoints that were chosen from
    unseen: int = 0  # bytes of the prompt that it has to compute, where the policy tells

    @property
    def why(self) -> str:
        """Built only when somebody asks: most requests are never asked about."""
        return f"{self.rule}, {self.in_flight} in flight, of {self.of}"


@dataclass(frozen=True, slots=True)
class NoRoom:
    """An endpoint may take the request later, so it can be held."""

    why: str


@dataclass(frozen=True, slots=True)
class NoneLeft:
    """Every endpoint is one that this request will not try again."""

    why: str


NO_ENDPOINT: Final = NoRoom("no endpoint")


def pick(endpoints: Sequence[Endpoint], view: View) -> Picked | NoRoom | NoneLeft:
    """The policy LeastInFlight."""
    found = candidates(endpoints, view)
    if isinstance(found, (NoRoom, NoneLeft)):
        return found
    return least_in_flight(found, view)


def candidates(endpoints: Sequence[Endpoint], view: View) -> Sequence[Endpoint] | NoRoom | NoneLeft:
    """The endpoints that may be chosen, in their order.

    An ejected one is among them only where all that this request may try are ejected: a guess is
    better than waiting for nobody.
    """
    if not endpoints:
        return NO_ENDPOINT
    if not (view.failed or view.ejected or view.paused) and view.room is None:
        return endpoints  # as nearly always
    untried = _without(endpoints, view.failed)
    if not untried:
        return NoneLeft(f"{len(endpoints)} endpoints, none left to try")
    sound = _without(untried, view.ejected) or untried
    found = _with_room(_without(sound, view.paused), view)
    return found or NoRoom(f"{len(sound)} endpoints, none with room")


def least_in_flight(found: Sequence[Endpoint], view: View, rule: str = "least busy") -> Picked:
    """`found` holds at least one. Among equals, by turns."""
    get = view.in_flight.get
    lowest, best = get(found[0].key, 0), [found[0]]
    for one in found[1:]:
        count = get(one.key, 0)
        if count < lowest:
            lowest, best = count, [one]
        elif count == lowest:
            best.append(one)
    return Picked(best[view.turn % len(best)], rule, lowest, len(found))


def _without(endpoints: Sequence[Endpoint], keys: AbstractSet[str]) -> Sequence[Endpoint]:
    return [one for one in endpoints if one.key not in keys] if keys else endpoints


def _with_room(endpoints: Sequence[Endpoint], view: View) -> Sequence[Endpoint]:
    room, get = view.room, view.in_flight.get
    if room is None:
        return endpoints
    return [one for one in endpoints if get(one.key, 0) < room]
