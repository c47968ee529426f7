from typing import Any

import builders
import pooled

from berth_api import names
from berth_api.keys import engine_key
from berth_api.pool import PoolEngine, PoolStatus
from berth_api.server import Phase
from berth_operator.core.observed import Pod
from berth_operator.core.pools import orders
from berth_operator.core.pools.failures import History
from berth_operator.core.pools.observed import PoolObserved
from berth_operator.core.residency.verdicts import Decision, Kept, PodOrders, Wanted

FIRST_PORT, LAST_PORT = names.PORTS_POOL
KEY = builders.context().master_key


def decision(*engines: str, pod: str = pooled.POD_UID) -> Decision:
    wanted = (Wanted(one, (0,), 30 * pooled.GIB, Kept("Busy"), routed=True) for one in engines)
    return Decision((PodOrders(pod, tuple(wanted)),), (), (), None)


def pool(**known: Any) -> tuple[PoolObserved, list[str]]:
    """Of two models, and their engines."""
    members = [pooled.member(pooled.model_cr(one, f"pvc://models/{one}")) for one in ("a", "b")]
    ids = [one.revisions[0].id for one in members]
    return pooled.observed(*members, **known), ids


def own_port(engine: str) -> int:
    return FIRST_PORT + int(engine, 16) % (LAST_PORT - FIRST_PORT + 1)


def test_an_engine_comes_back_to_its_own_port_and_another_does_not_get_it() -> None:
    """A gateway with an old route then meets nobody, and not an engine that refuses its key."""
    observed, ids = pool()
    found = orders.placed(observed, decision(*ids), {})
    assert [one.port for one in found] == [own_port(one) for one in ids]
    assert len({one.port for one in found}) == len(ids)


def test_an_engine_keeps_its_port_and_gets_the_next_one_where_its_own_still_drains() -> None:
    theirs = own_port(pool()[1][1])
    leaving = pooled.engine_report("gone", Phase.DRAINING, port=theirs)
    kept = PoolEngine(
        id=pool()[1][0],
        state="Loading",
        memory_bytes=1,
        pod_uid=pooled.POD_UID,
        port=FIRST_PORT + 5,
    )
    observed, ids = pool(pods=(pooled.pod(leaving),), status=PoolStatus(engines=[kept]))
    found = orders.placed(observed, decision(*ids), {})
    after = FIRST_PORT if theirs == LAST_PORT else theirs + 1
    assert [one.port for one in found] == [FIRST_PORT + 5, after]


def test_an_order_has_all_that_its_engine_needs_and_a_key_of_its_own() -> None:
    observed, ids = pool()
    where = orders.placed(observed, decision(*ids), {ids[0]: History(attempt=2)})
    (told,) = orders.of_pods(observed, where, KEY, 9)
    assert told.orders.sequence == 9
    one, other = told.orders.engines
    assert (one.id, one.attempt, one.cards) == (ids[0], 2, [0])
    assert (one.config.name, one.config.port) == (ids[0], own_port(ids[0]))
    assert one.memory_bytes == 30 * pooled.GIB
    assert one.key == engine_key(KEY, names.pool_engine(pooled.POOL_UID, ids[0]))
    assert one.key != other.key


def test_a_pod_without_engines_is_told_so_and_one_that_does_not_answer_is_not() -> None:
    silent = Pod(pooled.pod_object("silent"))
    observed, _ = pool(pods=(pooled.pod(), silent))
    (told,) = orders.of_pods(observed, (), KEY, 1)
    assert told.pod.object["metadata"]["name"] == "shared-pool-0"
    assert told.orders.engines == []


def test_orders_are_told_apart_by_what_a_pod_does_with_them() -> None:
    observed, ids = pool()
    first = orders.placed(observed, decision(*ids), {})
    again = orders.placed(observed, decision(*ids), {ids[0]: History(attempt=1)})
    fewer = orders.placed(observed, decision(ids[0]), {})
    hashes = [orders.hash_of(one) for one in (first, reversed(first), again, fewer)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_there_is_a_port_for_every_engine_that_a_pod_may_have() -> None:
    assert LAST_PORT - FIRST_PORT + 1 > 64
