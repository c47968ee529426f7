"""What a ModelPool's status says: its engines with their reasons, its cards, its pods.

It is the pool's memory as well: what was ordered where, which loads failed, how long they took.
Nothing that changes by itself is in it, so that a pool at rest is not written.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from berth_api import names
from berth_api.pool import PoolCard, PoolStatus
from berth_api.shape import Failure
from berth_api.status import Condition
from berth_operator.core import problems
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import is_ready, timestamp
from berth_operator.core.pools import cards, engine_status
from berth_operator.core.pools.failures import History
from berth_operator.core.pools.observed import PoolObserved, Unreadable, uid
from berth_operator.core.pools.orders import Placed
from berth_operator.core.residency.pool import Pool
from berth_operator.core.residency.verdicts import Decision


class _Truth(NamedTuple):
    """Whether the pool is ready, its phase, and the reason that a user should mend first."""

    ready: bool
    phase: str
    reason: str
    message: str


def of(
    observed: PoolObserved,
    offer: Offer,
    question: Pool,
    decision: Decision,
    *,
    where: tuple[Placed, ...],
    history: Mapping[str, History],
    orders: str,
) -> PoolStatus:
    engines = engine_status.of(observed, question, decision, where, history)
    return _common(observed, _truth(observed)).model_copy(
        update={
            "loaded": sum(one.state == "Serving" for one in engines),
            "waiting": sum(one.state == "Waiting" for one in engines),
            "sequence": _sequence(observed, orders),
            "orders": orders,
            "engines": engines,
            "cards": _cards(observed, offer, where),
        }
    )


def _sequence(observed: PoolObserved, orders: str) -> int:
    """Grows when the orders change. A status that was lost starts above what the pods have."""
    told, reports = observed.status, (one.report for one in observed.active if one.report)
    heard = max((one.sequence or 0 for one in reports), default=0)
    same = told.orders == orders and told.sequence >= max(heard, 1)
    return told.sequence if same else max(told.sequence, heard) + 1


def of_refused(observed: PoolObserved, failure: Failure) -> PoolStatus:
    """Why it has no pods to decide about; what was told of its engines stands."""
    ready, _ = _ready(observed)
    return _common(observed, _refused(failure, ready=ready > 0))


def of_unreadable(seen: Unreadable) -> PoolStatus:
    """What was told before stands, and why nothing more is done."""
    before = PoolStatus.model_validate(seen.cr.get("status") or {})
    failure = Failure(reason="InvalidSpec", message=seen.problem, fix="mend the ModelPool's spec")
    truth = _refused(failure, ready=bool(before.ready_replicas))
    generation = seen.cr["metadata"].get("generation", 0)
    return _with_truth(before, truth, generation, timestamp(seen.now))


def _refused(failure: Failure, *, ready: bool) -> _Truth:
    return _Truth(ready, "Refused", failure.reason, f"{failure.message}. Fix: {failure.fix}")


def _common(observed: PoolObserved, truth: _Truth) -> PoolStatus:
    ready, _ = _ready(observed)
    told = _with_truth(observed.status, truth, observed.pool.generation, timestamp(observed.now))
    return told.model_copy(
        update={
            "replicas": len(observed.active),
            "ready_replicas": ready,
            "selector": f"{names.LABEL_POOL}={observed.pool.name},"
            f"{names.LABEL_ROLE}={names.ROLE_POOL}",
        }
    )


def _ready(observed: PoolObserved) -> tuple[int, int]:
    """How many pods take models, and how many are to."""
    return sum(is_ready(one.object) for one in observed.active), observed.pool.spec.replicas


def _truth(observed: PoolObserved) -> _Truth:
    ready, wanted = _ready(observed)
    told = f"{ready} of {wanted} pods take models"
    short = "Degraded" if ready else "Pending"
    problem = pod_problem(observed)
    if problem is not None and (ready < wanted or observed.refusals):
        message = f"{told}; {problem.message}. Fix: {problem.fix}"
        return _Truth(ready > 0, short, problem.reason, message)
    if ready >= wanted:
        return _Truth(True, "Ready", "Serving" if wanted else "ScaledToZero", told)
    return _Truth(ready > 0, short, "Starting", told)


def pod_problem(observed: PoolObserved) -> Failure | None:
    if observed.refusals:
        return problems.of_refusal(observed.refusals[0]).failure
    found = problems.of_pods(one for one in observed.pods if not is_ready(one.object))
    if found is None:
        unmade = (problems.of_deployment(one) for one in observed.deployments)
        found = next((one for one in unmade if one is not None), None)
    return None if found is None else found.failure


def _with_truth(before: PoolStatus, truth: _Truth, generation: int, now: str) -> PoolStatus:
    """The condition keeps the time of its last turn."""
    status: Literal["True", "False"] = "True" if truth.ready else "False"
    known = (one for one in before.conditions if (one.type, one.status) == ("Ready", status))
    turned = next((one.last_transition_time for one in known), now)
    ready = Condition(
        type="Ready",
        status=status,
        observed_generation=generation,
        last_transition_time=turned,
        reason=truth.reason,
        message=truth.message,
    )
    return before.model_copy(
        update={
            "observed_generation": generation,
            "phase": truth.phase,
            "reason": truth.reason,
            "message": truth.message,
            "conditions": [ready],
        }
    )


def _cards(observed: PoolObserved, offer: Offer, where: Iterable[Placed]) -> list[PoolCard]:
    granted: dict[tuple[str, int], int] = {}
    for one in where:
        for card in one.wanted.cards:
            place = uid(one.pod), card
            granted[place] = granted.get(place, 0) + one.wanted.card_bytes
    return [
        PoolCard(
            pod=pod.object["metadata"]["name"],
            index=card,
            total_bytes=total,
            granted_bytes=granted.get((uid(pod), card), 0),
        )
        for pod in observed.active
        for card, total in enumerate(cards.room(offer))
    ]
