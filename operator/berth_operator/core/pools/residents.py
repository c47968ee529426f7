"""Which engines are in which pod: what the pods report, and what they were ordered to hold.

The report is the truth of what there is; the pool's status is the truth of what was ordered, also
where a pod has not heard of it yet or cannot be asked at the moment.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from berth_api.pool import PoolEngine
from berth_api.server import EngineStatus, Phase
from berth_operator.core.kubernetes import moment
from berth_operator.core.observed import Pod
from berth_operator.core.pools.observed import PoolObserved, started_at, uid
from berth_operator.core.residency.pool import Resident, State

_ORDERED = frozenset({"Loading", "Serving"})


def residents(observed: PoolObserved) -> tuple[Resident, ...]:
    return tuple(one for pod in observed.active for one in _of_pod(observed, pod))


def _of_pod(observed: PoolObserved, pod: Pod) -> Iterator[Resident]:
    ordered = {one.id: one for one in ordered_at(observed, uid(pod))}
    reported = {one.id: one for one in reports(pod)}
    for id_, one in reported.items():
        if id_ is not None:
            yield _reported(observed, pod, one, ordered.get(id_))
    for id_, order in ordered.items():
        if id_ not in reported:
            yield _unheard(observed, pod, order)


def ordered_at(observed: PoolObserved, pod: str) -> Iterator[PoolEngine]:
    """What the pod with this uid was told to hold, as it was decided last."""
    for one in observed.status.engines:
        if one.pod_uid == pod and one.state in _ORDERED:
            yield one


def reports(pod: Pod) -> list[EngineStatus]:
    return [] if pod.report is None else [one for one in pod.report.engines if one.id]


def _reported(
    observed: PoolObserved, pod: Pod, told: EngineStatus, order: PoolEngine | None
) -> Resident:
    state = state_of(told, ordered=order is not None)
    held = (told.memory_bytes or 0) if told.phase is not Phase.PENDING else 0
    if told.phase is Phase.FAILED and not _withheld(told):
        held = 0
    return Resident(
        engine=told.id or "",
        pod=uid(pod),
        cards=tuple(told.cards) or (0,),
        state=state,
        since=_since(observed, pod, told, order, state).timestamp(),
        withheld=held,
    )


def state_of(told: EngineStatus, *, ordered: bool) -> State:
    if told.phase is Phase.FAILED:
        return "Failed"
    if not ordered:
        return "Draining"
    # One that drains and is ordered again is un-drained: it serves when its pod says so.
    return "Serving" if told.phase is Phase.SERVING else "Loading"


def _withheld(told: EngineStatus) -> bool:
    return told.failure is not None and told.failure.reason == "MemoryNotFreed"


def _since(
    observed: PoolObserved, pod: Pod, told: EngineStatus, order: PoolEngine | None, state: State
) -> datetime:
    """When it began to serve by the pod's own clock; while it loads, when it was ordered."""
    began = started_at(pod.object)
    if state == "Serving" and began is not None and told.ready_seconds is not None:
        return began + timedelta(seconds=told.ready_seconds)
    return (moment(order.since) if order is not None else None) or observed.now


def _unheard(observed: PoolObserved, pod: Pod, order: PoolEngine) -> Resident:
    """Ordered, and the pod has not told of it: it has not heard, or it cannot be asked."""
    silent = pod.report is None
    state: State = "Serving" if silent and order.state == "Serving" else "Loading"
    since = moment(order.since) or observed.now
    held = order.memory_bytes if silent else 0
    cards = tuple(order.cards) or (0,)
    return Resident(order.id, uid(pod), cards, state, since.timestamp(), held)
