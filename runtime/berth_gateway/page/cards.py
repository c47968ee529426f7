"""The cards of the page: what lies on each, of whom. Those of a pool hold several models.

A room beside `view`, for a card is not of one model.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from berth_gateway.routing.memory import Memory
from berth_gateway.routing.pools import Card, Pool, Share, cards
from berth_gateway.routing.snapshot import Model, Snapshot

Json = dict[str, Any]

# Kinds beside those of `Use`: of an engine of which no more is known, and of all those whose models
# the key may not use.
_ENGINE: Final = "engine"
_OTHERS: Final = "others"


def told(snapshot: Snapshot, models: Iterable[Model], pools: Iterable[Pool]) -> Iterable[Json]:
    """`{id, name, place, hardware, count, totalBytes, usableBytes, residentBytes, parts}` of each.

    Of a pool that one of the models is in, every card; of a model that is on none of these, those
    of a replica, or what they would be.
    """
    mine = {(one.namespace, one.standing.pool, one.name): one for one in models}
    joined = {key[:2] for key in mine}
    seen = {_id(one): one for one in pools if _id(one) in joined}
    placed = set()
    for pool in sorted(seen):
        for card in cards(seen[pool]):
            names = (name for share in card.shares for name in share.models)
            here = {name: mine[(*pool, name)] for name in names if (*pool, name) in mine}
            placed |= {one.key for one in here.values()}
            yield _of_pool(snapshot, here, card)
    for model in mine.values():
        if model.standing.memory is not None and model.key not in placed:
            yield _of_model(snapshot, model, model.standing.memory)


def _id(pool: Pool) -> tuple[str, str]:
    return pool.namespace, pool.name


def _of_model(snapshot: Snapshot, model: Model, memory: Memory) -> Json:
    """One of `count` that are alike; 0: nothing is loaded, and this is what would be."""
    name = snapshot.public_name(model)
    return {
        "id": model.key,
        "name": name,
        "place": None,
        "hardware": memory.hardware,
        "count": memory.cards * (model.standing.replicas or 0),
        "totalBytes": memory.total,
        "usableBytes": memory.usable,
        "residentBytes": memory.resident,
        "parts": _parts(name, memory),
    }


def _of_pool(snapshot: Snapshot, models: Mapping[str, Model], card: Card) -> Json:
    """`models` are those of the card that may be seen, by name."""
    parts, others = [], 0
    for share in card.shares:
        seen = [models[name] for name in share.models if name in models]
        if seen or not share.models:
            parts += _of_share(snapshot, seen, share)
        else:
            others += share.size
    if others:
        parts.append(_part(None, _OTHERS, others, None))
    return {
        "id": f"{card.pool.namespace}/{card.pod}/{card.index}",
        "name": f"pool {card.pool.name}",
        "place": f"card {card.index} of {card.pod}",
        "hardware": card.pool.hardware,
        "count": 1,
        "totalBytes": card.total,
        "usableBytes": card.total,
        "residentBytes": None,
        "parts": parts,
    }


def _of_share(snapshot: Snapshot, models: list[Model], share: Share) -> list[Json]:
    """Models that share an engine are called as the first of them.

    The parts are those of its plan. One that is planned anew has another share, and no engine yet.
    """
    if not models:
        return [_part(None, _ENGINE, share.size, None)]
    name = snapshot.public_name(models[0])
    memory = models[0].standing.memory
    if memory is None or memory.usable != share.size:
        return [_part(name, _ENGINE, share.size, None)]
    return _parts(name, memory)


def _parts(name: str, memory: Memory) -> list[Json]:
    return [_part(name, one.use.value, one.planned, one.measured) for one in memory.parts]


def _part(model: str | None, kind: str, planned: int, measured: int | None) -> Json:
    return {"model": model, "kind": kind, "plannedBytes": planned, "measuredBytes": measured}
