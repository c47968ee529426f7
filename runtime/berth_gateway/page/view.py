"""What the page is told: all that one key may see of this gateway, as JSON. Whole, every time.

Read by the management thread while the data path goes on: copies and single numbers only. Names and
words of a model are those of `berth ps -o json`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from berth_api import seat
from berth_api.seat import Seat
from berth_gateway.page import cards
from berth_gateway.routing import admission
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.pools import Pool
from berth_gateway.routing.snapshot import Model, Snapshot
from berth_gateway.routing.standing import Standing, seated
from berth_gateway.state.board import Board
from berth_gateway.state.past import KEPT_SECONDS, LOOK_SECONDS, Past
from berth_gateway.state.queue_gauges import in_flight

Seats = dict[str, dict[str, dict[str, Seat]]]
"""By namespace, pool and model."""

_FROM_A_FILE: Final = "it comes from the routes file, and stays as long as this gateway"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Which one speaks: each counts its own queues."""

    name: str
    replicas: int  # of gateways, as the chart has told


def state(board: Board, key: ApiKey | None, gateway: Gateway) -> dict[str, Any]:
    """`{gateway, gateways, synced, key, models, cards}`; see `_model` and `cards.told`."""
    snapshot = board.snapshot
    mine = visible(snapshot, key)
    return {
        "gateway": gateway.name,
        "gateways": gateway.replicas,
        "synced": board.synced,
        "key": key.name if key else None,
        "models": _models(board, snapshot, mine),
        "cards": list(cards.told(snapshot, mine, board.pools)),
    }


def history(past: Past, models: Iterable[Model]) -> dict[str, Any]:
    """`points`: `[seconds ago, held, in flight, replicas]`, each valid until the next."""
    looks = past.looks
    series = past.of(one.key for one in models)
    return {
        "keptSeconds": KEPT_SECONDS,
        "everySeconds": LOOK_SECONDS,
        "knownSeconds": min(max(looks - 1, 0) * LOOK_SECONDS, KEPT_SECONDS),
        "points": [[(looks - 1 - one.look) * LOOK_SECONDS, *one.counts] for one in series],
    }


def visible(snapshot: Snapshot, key: ApiKey | None) -> list[Model]:
    """By namespace and name, as `berth ps` has them."""
    mine = [one for one in snapshot.models if key is None or key.admits(one, snapshot)]
    return sorted(mine, key=lambda one: (one.namespace, one.name))


def _models(board: Board, snapshot: Snapshot, models: list[Model]) -> list[dict[str, Any]]:
    queues = board.queues
    flying = in_flight(queues)
    seats = _seats(board.pools)
    found = []
    for model in models:
        line = queues.lines.get(model.key)
        held = len(line.held) if line else 0
        oldest = round(queues.oldest_seconds(line), 3) if line else 0.0
        counts = {"inFlight": flying[model.key], "held": held, "oldestHeldSeconds": oldest}
        found.append(_model(snapshot, model, _standing(model, seats)) | counts)
    return found


def _seats(pools: Iterable[Pool]) -> Seats:
    found: Seats = {}
    for one in pools:
        found.setdefault(one.namespace, {})[one.name] = seat.seats(one.name, one.status)
    return found


def _standing(model: Model, seats: Seats) -> Standing:
    """Of a model in a pool that is not known, what the model itself tells."""
    pool, known = model.standing.pool, seats.get(model.namespace, {})
    if pool is None or pool not in known:
        return model.standing
    return seated(model.standing, seat.find(pool, model.name, known))


def _model(snapshot: Snapshot, model: Model, standing: Standing) -> dict[str, Any]:
    """`id` is the name to ask it by. `cannotLoad` and `cannotUnload` say why, or are null."""
    return {
        "id": snapshot.public_name(model),
        "namespace": model.namespace,
        "name": model.name,
        "otherNames": snapshot.other_names(model),
        "phase": model.phase,
        "progress": standing.progress,
        "reason": model.reason,
        "message": standing.message,
        "processor": standing.processor,
        "memory": {
            "plannedBytes": standing.planned_bytes,
            "measuredBytes": standing.measured_bytes,
        },
        "context": model.facts.context,
        "until": standing.until,
        "replicas": {
            "ready": standing.ready_replicas,
            "current": standing.replicas,
            "wanted": standing.wanted_replicas,
            "reached": len(model.endpoints),
        },
        "queueDepth": standing.queue_depth,
        "chats": "completion" in model.facts.capabilities,
        "cannotLoad": _cannot_load(model),
        "cannotUnload": standing.stays_because if model.namespace else _FROM_A_FILE,
    }


def _cannot_load(model: Model) -> str:
    hopeless = admission.hopeless(model)
    return hopeless.message if hopeless else ""
