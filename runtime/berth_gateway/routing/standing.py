"""How a model stands, as its spec and status say it: for people, never for a request.

Kept when an object is read, so that the page needs neither the object nor the API server.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from berth_api import telling
from berth_api.seat import Seat, place, until
from berth_api.spec import ScalingMode, Spec
from berth_api.status import Status
from berth_gateway.routing.memory import Memory, memory


@dataclass(frozen=True, slots=True)
class Standing:
    """None and empty are unknown; the words are those of `berth ps`."""

    progress: str | None = None  # status.progress, as "43%"
    message: str = ""  # of the Ready condition
    processor: str | None = None  # of one replica: "2 x h100"; or "pool small"
    pool: str | None = None
    device: str | None = None  # status.plan.device
    unless_asked: str = ""  # in a pool: how long it stays where nothing holds it, as "5m idle"
    planned_bytes: int | None = None  # of one GPU, or of a pod without one
    measured_bytes: int | None = None  # as that
    until: str | None = None  # "5m idle"; None where nothing runs
    replicas: int | None = None
    ready_replicas: int | None = None
    wanted_replicas: int | None = None
    queue_depth: int | None = None  # of all gateways, as the operator last wrote it
    stays_because: str = ""  # why a request cannot unload it, and what can; empty: one can
    memory: Memory | None = None


def standing(spec: Spec, status: Status) -> Standing:
    plan = status.plan
    return Standing(
        progress=status.progress,
        message=status.message or "",
        processor=telling.processor(plan) if spec.pool is None else place(Seat(spec.pool), None),
        pool=spec.pool,
        device=plan.device if plan else None,
        unless_asked="" if spec.pool is None else telling.unless_asked(spec, goes=True),
        planned_bytes=plan.usable_bytes if plan else None,
        measured_bytes=telling.measured_bytes(plan.measured if plan else None),
        until=telling.until(spec, status),
        replicas=status.replicas,
        ready_replicas=status.ready_replicas,
        wanted_replicas=telling.wanted(spec, status),
        queue_depth=status.queue.depth if status.queue else None,
        stays_because=_stays_because(spec),
        memory=memory(plan) if plan and plan.fits else None,
    )


def seated(standing: Standing, seat: Seat) -> Standing:
    """Of a pool's model, with what its pool knows better."""
    planned = standing.planned_bytes if seat.engine is None else seat.engine.memory_bytes
    return replace(
        standing,
        processor=place(seat, standing.device),
        planned_bytes=planned,
        until=until(seat, standing.unless_asked),
        wanted_replicas=seat.wanted,
    )


def _stays_because(spec: Spec) -> str:
    if spec.pool is not None and not spec.paused:  # a pool unloads whatever it is asked to
        return ""
    return next((why for holds, why in _STAYS if holds(spec)), "")


# The first that holds of a spec.
_STAYS: Final[tuple[tuple[Callable[[Spec], bool], str], ...]] = (
    (
        lambda spec: spec.paused,
        "spec.paused is set, and nothing is changed; set it to false",
    ),
    (
        lambda spec: spec.scaling.mode is ScalingMode.EXTERNAL,
        "scaling.mode is External: an HPA or KEDA decides; change its bounds",
    ),
    (
        lambda spec: spec.scaling.mode is ScalingMode.FIXED,
        "scaling.mode is Fixed: `berth unload`, or set spec.replicas to 0",
    ),
    (
        lambda spec: spec.scaling.min_replicas > 0,
        "scaling.minReplicas is above 0, so it always runs; set it to 0",
    ),
)
