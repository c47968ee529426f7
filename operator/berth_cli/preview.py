"""The operator's own decision on a ModelDeployment that has just been applied.

Nothing is decided here: `core.planner.planning` and `core.decide` are asked, with the fleet and the
shape that were given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from berth_api.adapters import AdapterReport
from berth_api.shape import Failure, ShapeReport
from berth_api.status import Plan
from berth_cli.errors import InputError
from berth_cli.profiles import Fleet
from berth_operator.core.accelerators import offers
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.decide import decide
from berth_operator.core.model import architecture
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.observed import Observed
from berth_operator.core.outcome import Outcome
from berth_operator.core.planner import planning
from berth_operator.core.planner.context import Context
from berth_operator.core.resolved import Resolved, resolve

# A preview's engine key opens nothing.
_NO_KEY: Final = bytes(32)


@dataclass(frozen=True)
class Preview:
    """`plan` is None where a value is refused before any arithmetic."""

    resolved: Resolved
    shape: ModelShape
    plan: Plan | None
    offer: Offer | None  # that the plan is of
    refusal: Failure | None  # None: the operator would run it
    outcome: Outcome
    hint: str = ""  # what else may be given, where it does not fit

    @property
    def fits(self) -> bool:
        """One replica on one node."""
        return self.plan is not None and self.plan.fits

    @property
    def nodes(self) -> int:
        """That would hold one replica together; 0 if none would."""
        if self.plan is None or not (self.plan.fits or self.plan.pipeline_parallel_size > 1):
            return 0
        return self.plan.pipeline_parallel_size


def preview(
    cr: Mapping[str, Any],
    fleet: Fleet,
    report: ShapeReport,
    now: datetime,
    adapters: Mapping[str, AdapterReport] | None = None,
) -> Preview:
    """`adapters` are by source. Raises InputError if the shape holds no model."""
    shape = architecture.read(report)
    if isinstance(shape, Failure):
        raise InputError(f"the model's shape: {shape.reason}: {shape.message}; {shape.fix}")
    resolved = resolve(cr)
    observed = Observed(
        cr=cr,
        now=now,
        nodes=fleet.nodes,
        shapes={_source(resolved): report},
        adapters=adapters or {},
    )
    context = Context(fleet.settings, _NO_KEY)
    planned = planning.plan(observed, resolved, context)
    refusal = planned.failure if isinstance(planned, planning.Refused) else None
    offered = _offered(fleet, resolved)
    plan = _plan(planned)
    return Preview(
        resolved=resolved,
        shape=shape,
        plan=plan,
        offer=_of_plan(offered, plan),
        refusal=refusal,
        outcome=decide(observed, context),
        hint=fleet.hint,
    )


def _source(resolved: Resolved) -> str:
    return resolved.spec.model.source


def _offered(fleet: Fleet, resolved: Resolved) -> tuple[Offer, ...]:
    found = offers.offers(fleet.settings, fleet.nodes, resolved.spec)
    return tuple(one for one in found if isinstance(one, Offer))


def _plan(planned: planning.Planning) -> Plan | None:
    """Also of what is refused because it is too large, or wants several nodes."""
    match planned:
        case planning.Planned(revision=revision):
            return revision.plan
        case planning.Refused(plan=plan):
            return plan
        case _:
            return None


def _of_plan(offered: tuple[Offer, ...], plan: Plan | None) -> Offer | None:
    """A profile may have several offers, by kind of card; a plan is never larger than its card."""
    found = (
        one
        for one in offered
        if plan is not None
        and one.profile.name == plan.accelerator
        and one.memory_bytes >= plan.usable_bytes
    )
    return next(found, None)
