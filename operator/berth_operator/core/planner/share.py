"""How little of a card will do: for an engine that has neighbours on it.

A dedicated engine takes the whole card and turns what is left into KV cache. In a pool that would
leave room for one. Here a share is what the model needs for a context that a person would call
usable (or for the one that was asked for), and no more; who wants more sequences at once says so
in `minConcurrency`, and who knows the share sets it. Pure.
"""

from decimal import ROUND_CEILING, Decimal
from typing import Final

from berth_api.quantity import mebibytes
from berth_api.spec import Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.planner import fit
from berth_operator.core.planner.attempt import Attempt
from berth_operator.core.planner.case import Case, Learned, fitting, nothing_learned
from berth_operator.core.planner.wishes import FRACTION_STEP, Illegal, wishes

_MIB: Final = 2**20


def plan(
    shape: ModelShape, offer: Offer, spec: Spec, learned: Learned = nothing_learned
) -> fit.Verdict:
    """As `fit.plan`, on the least share of the card; a share that the user set is honoured."""
    whole = fit.plan(shape, offer, spec, learned)
    if not isinstance(whole, fit.Fits) or _is_set(offer, spec):
        return whole
    found = _fitting(shape, offer, spec, learned)
    if found is None:
        return whole
    least = fit.plan(shape, offer, _narrowed(offer, spec, *found), learned)
    return least if isinstance(least, fit.Fits) else whole


def _is_set(offer: Offer, spec: Spec) -> bool:
    if offer.on_cpu:
        return spec.resources.memory is not None
    return spec.memory.gpu_memory_fraction != "auto"


def _fitting(
    shape: ModelShape, offer: Offer, spec: Spec, learned: Learned
) -> tuple[Attempt, int] | None:
    """The attempt on the whole card, and the tokens that the share is for."""
    asked = wishes(shape, offer, spec)
    if isinstance(asked, Illegal):
        return None
    found = fitting(Case(shape, offer, spec, asked, learned), nodes=1)
    return None if found is None else (found, min(found.context, asked.context.usable))


def _narrowed(offer: Offer, spec: Spec, found: Attempt, tokens: int) -> Spec:
    """The spec of the engine's share: the same size, a context of `tokens`."""
    needed = found.needed(tokens)
    narrow = spec.model_copy(
        update={
            "runtime": spec.runtime.model_copy(update={"max_model_len": tokens}),
            "parallelism": spec.parallelism.model_copy(update={"tensor": found.tensor_parallel}),
        }
    )
    if offer.on_cpu:
        memory = mebibytes(needed * found.tensor_parallel + _MIB)
        resources = spec.resources.model_copy(update={"memory": memory})
        return narrow.model_copy(update={"resources": resources})
    share = (Decimal(needed) / offer.memory_bytes).quantize(FRACTION_STEP, ROUND_CEILING)
    most = min(share, found.fraction)
    memory_of_card = spec.memory.model_copy(update={"gpu_memory_fraction": str(most)})
    return narrow.model_copy(update={"memory": memory_of_card})
