"""Where a model of a pool is, as its ModelPool tells it: at the terminal and on the page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from berth_api.pool import TAKES_ROOM, EngineState, PoolEngine, PoolStatus
from berth_api.telling import FOREVER

# A roll-out has two engines of one model: the first of these is the one that people mean.
_ORDER: Final[tuple[EngineState, ...]] = (
    "Serving", "Loading", "Draining", "Waiting", "Failed", "Refused", "Absent",
)  # fmt: skip
# The pool's words for one that stays until that is taken back.
_STAYS: Final = frozenset({"Pinned", "Paused"})


@dataclass(frozen=True)
class Seat:
    """`engines` is empty where the pool tells nothing of the model; `fault` may say why."""

    pool: str
    engines: tuple[PoolEngine, ...] = ()
    fault: str = ""

    @property
    def engine(self) -> PoolEngine | None:
        return next(iter(self.engines), None)

    @property
    def held(self) -> PoolEngine | None:
        """The engine that takes room in the pool."""
        return self.engine if self.engine and self.engine.state in TAKES_ROOM else None

    @property
    def wanted(self) -> int:
        """Engines that are to be: of a pool's model there is one, or none."""
        return int(self.engine is not None and self.engine.state != "Absent")

    def wire(self) -> dict[str, Any]:
        return {"name": self.pool, "engines": [one.wire() for one in self.engines]}


def seats(pool: str, status: PoolStatus) -> dict[str, Seat]:
    """Of all models that the pool tells of, by name."""
    found: dict[str, list[PoolEngine]] = {}
    for engine in sorted(status.engines, key=lambda one: _ORDER.index(one.state)):
        for model in engine.models:
            found.setdefault(model, []).append(engine)
    return {model: Seat(pool, tuple(engines)) for model, engines in found.items()}


def find(pool: str, model: str, known: Mapping[str, Mapping[str, Seat]]) -> Seat:
    """Among the `seats` of a namespace's pools, by name."""
    if pool not in known:
        fault = f"there is no ModelPool {pool} in its namespace; create it, or change spec.pool"
        return Seat(pool, fault=fault)
    return known[pool].get(model, Seat(pool))


def place(seat: Seat, device: str | None) -> str:
    """For people: `GPU 0,1 of small`, or the pool alone while it holds no engine of the model."""
    held = seat.held
    if held is None or (not held.cards and device != "cpu"):
        return f"pool {seat.pool}"
    cards = f"GPU {','.join(map(str, held.cards))}" if held.cards else "CPU"
    return f"{cards} of {seat.pool}"


def until(seat: Seat, unless_asked: str) -> str | None:
    """When it goes, or how long it stays: `unless_asked`, if nothing holds it. None: it is away."""
    held = seat.held
    if held is None or held.state == "Draining":
        return None
    return held.until or (FOREVER if held.reason in _STAYS else unless_asked)
