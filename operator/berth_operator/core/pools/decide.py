"""One ModelPool, from what is seen to what is done next: a pool's thinking on a page.

Pure. What is ordered is in the pool's status before any pod is told of it, so an operator that is
killed between two writes leaves nothing that the next cannot read; and a model's route is taken
back before its engine is told to go, so no request is sent to one that drains.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from berth_api import names
from berth_api.pool import PoolStatus
from berth_api.shape import Failure
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.known import least
from berth_operator.core.kubernetes import condition, is_reachable, is_terminating, moment
from berth_operator.core.objects import endpoint_slice, pool_pods
from berth_operator.core.objects.pool_pods import PoolPods
from berth_operator.core.observed import Object
from berth_operator.core.outcome import Deletion
from berth_operator.core.planner.context import Context
from berth_operator.core.pools import cards, failures, orders, ruling, status
from berth_operator.core.pools.observed import Member, PoolObserved, uid
from berth_operator.core.pools.orders import Order, Placed
from berth_operator.core.residency import law

# How often a pod is asked while something of it is on its way, and how often at rest: an engine
# that crashes tells nobody else.
MOVING_SECONDS: Final = 0.5
REST_SECONDS: Final = 5.0
_REFUSED_SECONDS: Final = 10.0
# Volumes are there within seconds, and those of a cloud within some ten.
_MOUNTED: Final = timedelta(seconds=60)


@dataclass(frozen=True)
class PoolOutcome:
    """In this order: the pool's own objects, its status, its models' routes, the pods' orders."""

    apply: tuple[dict[str, Any], ...] = ()
    delete: tuple[Deletion, ...] = ()
    status: dict[str, Any] | None = None
    routes: tuple[dict[str, Any], ...] = ()  # EndpointSlices
    withdraw: tuple[Deletion, ...] = ()  # of models that are in the pool no more
    orders: tuple[Order, ...] = ()
    look_again_seconds: float | None = None


def decide(observed: PoolObserved, context: Context) -> PoolOutcome:
    if is_terminating(observed.cr):
        return PoolOutcome()  # Kubernetes deletes the pods: they are owned
    offer = cards.offer(observed.pool, context.settings, observed.nodes)
    if isinstance(offer, Failure):
        return _refused(observed, offer)
    history = failures.histories(observed)
    question = ruling.question(observed, offer, history)
    decision = law.decide(question)
    where = orders.placed(observed, decision, history)
    told = status.of(
        observed,
        offer,
        question,
        decision,
        where=where,
        history=history,
        orders=orders.hash_of(where),
    )
    objects, superseded = _own(observed, context, offer)
    wishes = [decision.look_again_seconds, MOVING_SECONDS if _moves(told) else REST_SECONDS]
    return PoolOutcome(
        apply=objects,
        delete=superseded,
        status=told.wire(),
        routes=tuple(_routes(observed, where)),
        withdraw=_strangers(observed),
        orders=orders.of_pods(observed, where, context.master_key, told.sequence),
        look_again_seconds=least(wishes),
    )


def _refused(observed: PoolObserved, failure: Failure) -> PoolOutcome:
    """What stands, stands; but no route leads to a pod that is gone, or is of a model that left."""
    there = {uid(one) for one in observed.active}
    lost = (one for one in observed.slices if not _targets(one) <= there)
    strangers = _strangers(observed)
    left = {one.uid for one in strangers}
    return PoolOutcome(
        status=status.of_refused(observed, failure).wire(),
        routes=tuple(
            endpoint_slice.emptied(one) for one in lost if one["metadata"]["uid"] not in left
        ),
        withdraw=strangers,
        look_again_seconds=_REFUSED_SECONDS,
    )


def _targets(route: Object) -> set[str]:
    """Uids of the pods that it leads to."""
    return {one["targetRef"]["uid"] for one in route.get("endpoints") or ()}


def _moves(told: PoolStatus) -> bool:
    return any(one.state in {"Loading", "Draining", "Waiting"} for one in told.engines)


def _own(
    observed: PoolObserved, context: Context, offer: Offer
) -> tuple[tuple[dict[str, Any], ...], tuple[Deletion, ...]]:
    """What the pool needs to have pods, and the templates that it has no pod of any more."""
    given = PoolPods(observed.pool, context.settings, offer, context.master_key)
    name = pool_pods.spec_hash(given)
    stored = {one["metadata"]["name"]: one for one in observed.revisions}
    number = max((one.get("revision", 0) for one in observed.revisions), default=0) + 1
    wanted = pool_pods.revision(given, name, number)
    kept = stored.get(wanted["metadata"]["name"])
    wanted_objects: list[dict[str, Any]] = []
    key = pool_pods.key_hash(given)
    if not pool_pods.key_written(observed.budgets, key) or _waits_for_volumes(observed):
        wanted_objects.append(pool_pods.secret(given))
    if kept is None:
        wanted_objects.append(wanted)
    template = (kept or wanted)["data"]["template"]
    wanted_objects += [pool_pods.deployment(given, template), pool_pods.budget(given)]
    over = [one for key, one in stored.items() if key != wanted["metadata"]["name"]]
    return tuple(wanted_objects), tuple(Deletion.of(one) for one in over)


def _waits_for_volumes(observed: PoolObserved) -> bool:
    """A pod's sandbox is made when all is mounted: it may be the key's Secret that was deleted."""
    found = (condition(one.object, "PodReadyToStartContainers") for one in observed.active)
    waits = (one.get("lastTransitionTime") for one in found if one.get("status") == "False")
    since = min((at for text in waits if (at := moment(text))), default=observed.now)
    return observed.now - since > _MOUNTED


# Routes


def _routes(observed: PoolObserved, where: tuple[Placed, ...]) -> list[dict[str, Any]]:
    """A slice for each model that is served; one that was, and is not, has an empty one."""
    known = {one["metadata"]["name"]: one for one in observed.slices}
    found = []
    for member in observed.members:
        serves = _serves(observed, member, where)
        there = known.get(names.model_slice(member.name))
        if serves is not None:
            found.append(_slice(observed, member, serves))
        elif there is not None:  # it stays for the next load
            found.append(endpoint_slice.emptied(there))
    return found


def _serves(observed: PoolObserved, member: Member, where: tuple[Placed, ...]) -> Placed | None:
    """The engine that its spec asks for; until that serves, the newest of those before."""
    reachable = (one for one in where if one.wanted.routed and is_reachable(one.pod.object))
    routed = {one.revision.id: one for one in reachable}
    wanted = observed.wanted(member)
    newest_first = [] if wanted is None else [wanted.id]
    newest_first += [one.id for one in reversed(member.revisions)]
    return next((routed[id_] for id_ in newest_first if id_ in routed), None)


def _slice(observed: PoolObserved, member: Member, at: Placed) -> dict[str, Any]:
    return endpoint_slice.build(
        member.resolved, observed.pool, at.revision.id, at.port, (at.pod.object,)
    )


def _strangers(observed: PoolObserved) -> tuple[Deletion, ...]:
    mine = {names.model_slice(one.name) for one in observed.members}
    gone = (one for one in observed.slices if one["metadata"]["name"] not in mine)
    return tuple(Deletion.of(one) for one in gone)
