"""From what was decided to what each pod is told: the whole wanted state, each with its port."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from berth_api import names
from berth_api.keys import engine_key
from berth_api.pool_server import EngineOrder, EngineOrders
from berth_api.server import queue_limit
from berth_operator.core.digest import digest
from berth_operator.core.objects.pod_template import (
    STALL_SECONDS,
    expected_start_seconds,
    start_timeout_seconds,
)
from berth_operator.core.observed import Pod
from berth_operator.core.pools.failures import History
from berth_operator.core.pools.observed import PoolObserved, uid
from berth_operator.core.pools.residents import ordered_at, reports
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.residency.verdicts import Decision, Wanted

_HASH_DIGITS: Final = 16


@dataclass(frozen=True)
class Placed:
    """An engine at the pod that is to hold it."""

    pod: Pod
    wanted: Wanted
    revision: PooledRevision
    port: int
    attempt: int

    @property
    def cards(self) -> list[int]:
        """As a pod counts them: on CPU it has none."""
        return [] if self.revision.on_cpu else list(self.wanted.cards)


@dataclass(frozen=True)
class Order:
    """What one pod is to be told, if it was not yet."""

    pod: Pod
    orders: EngineOrders


def placed(
    observed: PoolObserved, decision: Decision, history: Mapping[str, History]
) -> tuple[Placed, ...]:
    pods = {uid(one): one for one in observed.active}
    return tuple(
        one
        for orders in decision.pods
        for one in _at(observed, pods[orders.pod], orders.engines, history)
    )


def _at(
    observed: PoolObserved, pod: Pod, wanted: Iterable[Wanted], history: Mapping[str, History]
) -> list[Placed]:
    """An engine keeps the port that it has; a new one gets its own, or the next that is free."""
    known = {one.id: one.port for one in ordered_at(observed, uid(pod)) if one.port}
    known |= {one.id or "": one.port for one in reports(pod) if one.port}
    taken: set[int | None] = set(known.values())
    found = []
    for one in wanted:
        revision = observed.plans.get(one.engine)
        if revision is None:
            continue
        port = known.get(one.engine) or _free(one.engine, taken)
        taken.add(port)
        attempt = history.get(one.engine, History()).attempt
        found.append(Placed(pod, one, revision, port, attempt))
    return found


def _free(engine: str, taken: set[int | None]) -> int:
    """By the engine's id, which is hexadecimal.

    A gateway that knows an old route a moment longer then finds nobody there. At a port that was
    given on at once it would meet another engine, which refuses its key: no reason to try again.
    """
    first, last = names.PORTS_POOL
    count = last - first + 1
    own = int(engine, 16) % count
    ports = (first + (own + step) % count for step in range(count))
    return next(port for port in ports if port not in taken)


def of_pods(
    observed: PoolObserved, where: Iterable[Placed], master_key: bytes, sequence: int
) -> tuple[Order, ...]:
    """For each pod that can be told."""
    found: dict[str, list[EngineOrder]] = {uid(one): [] for one in observed.active if one.report}
    pods = {uid(one): one for one in observed.active}
    for one in where:
        if uid(one.pod) in found:
            found[uid(one.pod)].append(_order(observed, one, master_key))
    return tuple(
        Order(pods[pod], EngineOrders(sequence=sequence, engines=engines))
        for pod, engines in found.items()
    )


def _order(observed: PoolObserved, one: Placed, master_key: bytes) -> EngineOrder:
    revision, plan = one.revision, one.revision.plan
    config = revision.engine.model_copy(update={"name": revision.id, "port": one.port})
    return EngineOrder(
        id=revision.id,
        attempt=one.attempt,
        config=config,
        key=engine_key(master_key, names.pool_engine(observed.pool.uid, revision.id)),
        cards=one.cards,
        memory_bytes=one.wanted.card_bytes,
        max_queued_requests=queue_limit(plan.max_num_seqs),
        stall_timeout_seconds=STALL_SECONDS,
        start_timeout_seconds=start_timeout_seconds(plan),
        expected_start_seconds=expected_start_seconds(plan),
    )


def hash_of(where: Iterable[Placed]) -> str:
    """Tells one set of orders from another; without keys, for it stands in the status."""
    parts: list[Any] = sorted(
        [uid(one.pod), one.revision.id, one.port, one.attempt, one.cards, one.wanted.card_bytes]
        for one in where
    )
    return digest(parts)[:_HASH_DIGITS]
