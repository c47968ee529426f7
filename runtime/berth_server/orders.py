"""Orders that cannot be obeyed are refused as a whole, with the field, the value and the fix. Pure.

An order that merely has to wait for memory is none of these: `steps` lets it wait.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from berth_api.pool_server import EngineOrder, EngineOrders, PoolConfig
from berth_server import args
from berth_server.binding import Cpus
from berth_server.errors import ConfigurationError, OrdersRefused
from berth_server.ledger import Share, share_of
from berth_server.steps import gib

# Of a refused value only so much is said again.
_VALUE_CHARACTERS: Final = 80
_LARGEST_PORT: Final = 65535


@dataclass(frozen=True)
class Pool:
    """What orders are measured by: `totals` are bytes by card, `running` what is held already."""

    config: PoolConfig
    totals: Mapping[int, int]
    cpus: Cpus
    running: Mapping[str, EngineOrder]


def read(body: bytes) -> EngineOrders:
    """Raises OrdersRefused. No word of a key is in what it says."""
    try:
        return EngineOrders.model_validate_json(body)
    except ValidationError as error:
        raise OrdersRefused([_said(dict(found)) for found in error.errors()]) from None


def _said(error: Mapping[str, Any]) -> str:
    """A whole order may be the value; only a short one that is no key is repeated."""
    place = ".".join(map(str, error["loc"])) or "the body"
    value = error["input"]
    shown = isinstance(value, str | int | float) and error["loc"] and "key" not in error["loc"]
    told = f" {str(value)[:_VALUE_CHARACTERS]!r}" if shown else ""
    return f"{place}{told}: {error['msg']}"


def check(orders: EngineOrders, pool: Pool) -> None:
    """Raises OrdersRefused with everything that is wrong."""
    found = [problem for rule in _RULES for problem in rule(orders, pool)]
    if found:
        raise OrdersRefused(found)


_Rule = Callable[[EngineOrders, Pool], Iterable[str]]


def _each_once(orders: EngineOrders, _: Pool) -> Iterator[str]:
    yield from _repeated("id", [order.id for order in orders.engines])
    yield from _repeated("config.port", [order.config.port for order in orders.engines])


def _repeated(field: str, values: list[Any]) -> Iterator[str]:
    for index, value in enumerate(values):
        first = values.index(value)
        if first != index:
            yield (
                f"engines.{index}.{field} {value!r} is engines.{first}'s too: "
                "give every engine one of its own"
            )


def _ports(orders: EngineOrders, pool: Pool) -> Iterator[str]:
    taken = pool.config.status_port
    for index, order in enumerate(orders.engines):
        port = order.config.port
        if not 0 < port <= _LARGEST_PORT:
            yield f"engines.{index}.config.port {port}: use one from 1 to {_LARGEST_PORT}"
        if port == taken:
            yield f"engines.{index}.config.port {port} is the status page's: use another"


def _cards(orders: EngineOrders, pool: Pool) -> Iterator[str]:
    count = pool.config.cards
    for index, order in enumerate(orders.engines):
        place = f"engines.{index}.cards {order.cards}"
        ranks = order.config.tensor_parallel_size * order.config.pipeline_parallel_size
        if order.config.device != pool.config.device:
            yield (
                f"engines.{index}.config.device {order.config.device!r}: this pool's is "
                f"{pool.config.device!r}"
            )
        elif unknown := sorted({card for card in order.cards if not 0 <= card < count}):
            yield f"{place}: this pod has {count} cards and no card {unknown[0]}"
        elif len(set(order.cards)) != len(order.cards):
            yield f"{place}: name each card once"
        elif count and len(order.cards) != ranks:
            yield f"{place}: {ranks} ranks need {ranks} cards, not {len(order.cards)}"


def _memory(orders: EngineOrders, pool: Pool) -> Iterator[str]:
    """What never fits alone, and what never fits together."""
    wanted: dict[int, int] = {}
    for index, order in enumerate(orders.engines):
        for card in _known(share_of(order), pool.totals):
            wanted[card] = wanted.get(card, 0) + order.memory_bytes
            if order.memory_bytes > pool.totals[card]:
                yield (
                    f"engines.{index}.memoryBytes {order.memory_bytes}: {_place(card, pool)} has "
                    f"{pool.totals[card]}; lower the share"
                )
    for card, size in wanted.items():
        if size > pool.totals[card]:
            yield (
                f"engines: {gib(size)} of {_place(card, pool)} are ordered and it has "
                f"{gib(pool.totals[card])}; order fewer engines at a time"
            )


def _known(share: Share, totals: Mapping[int, int]) -> list[int]:
    return [card for card in share.cards if card in totals]


def _place(card: int, pool: Pool) -> str:
    return f"card {card}" if pool.config.cards else "this pod"


def _flags(orders: EngineOrders, pool: Pool) -> Iterator[str]:
    for index, order in enumerate(orders.engines):
        if why := _unspeakable(order, pool.cpus):
            yield f"engines.{index}: {why}"


def _unspeakable(order: EngineOrder, cpus: Cpus) -> str | None:
    """Why there is no command for it."""
    try:
        args.command(order.config, args.Door("", order.max_queued_requests), "", cpus)
    except ConfigurationError as error:
        return str(error)
    return None


def _unchanged(orders: EngineOrders, pool: Pool) -> Iterator[str]:
    """An engine that runs has its port and its share until it ends."""
    for index, order in enumerate(orders.engines):
        held = pool.running.get(order.id)
        if held and _place_of(held) != _place_of(order):
            yield (
                f"engines.{index}.id {order.id!r} runs with another port or share: "
                "give what is to run differently another id"
            )


def _place_of(order: EngineOrder) -> tuple[int, Share]:
    return order.config.port, share_of(order)


_RULES: Final[tuple[_Rule, ...]] = (_each_once, _ports, _cards, _memory, _flags, _unchanged)
