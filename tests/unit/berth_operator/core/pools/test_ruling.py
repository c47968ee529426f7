from datetime import timedelta
from typing import Any

import builders
import pooled
import pytest

from berth_api import names
from berth_api.pool import PoolEngine, PoolStatus
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.observed import Load
from berth_operator.core.pools import cards, ruling
from berth_operator.core.pools.failures import History
from berth_operator.core.pools.observed import Member, PoolObserved
from berth_operator.core.residency.pool import Demand, Engine, Pool

EARLIER, LATER = (timestamp(builders.NOW - timedelta(minutes=one)) for one in (9, 3))


def question(observed: PoolObserved, **history: History) -> Pool:
    offer = cards.offer(observed.pool, builders.configured(), ())
    assert isinstance(offer, Offer)
    return ruling.question(observed, offer, history)


def engine(*members: Member, **known: Any) -> Engine:
    (found,) = question(pooled.observed(*members, **known)).engines
    return found


def of(**spec: Any) -> Engine:
    return engine(pooled.member(pooled.model_cr(**spec)))


def serving(id_: str) -> dict[str, Any]:
    told = PoolEngine(id=id_, state="Serving", pod_uid=pooled.POD_UID, memory_bytes=1)
    pod = pooled.pod(pooled.engine_report(id_))
    return {"status": PoolStatus(engines=[told]), "pods": (pod,)}


def test_an_engine_is_as_large_as_its_plan_and_is_of_the_models_that_ask_for_it() -> None:
    found = engine(pooled.member())
    assert (found.models, found.card_bytes, found.cards) == (("a",), 30 * pooled.GIB, 1)


def test_models_that_share_one_give_it_the_most_that_any_wants() -> None:
    one = pooled.member(pooled.model_cr("a", priority=1, keepAlive="1m"))
    two = pooled.member(pooled.model_cr("b", priority=7, keepAlive="10m", evictable=False))
    found = engine(one, two)
    assert found.models == ("a", "b")
    assert (found.priority, found.keep_alive_seconds, found.evictable) == (7, 600.0, False)


@pytest.mark.parametrize(
    ("keep_alive", "expected"), [("5m", 300.0), ("0", 0.0), ("90s", 90.0), ("-1", None)]
)
def test_keep_alive_is_the_specs(keep_alive: str, expected: float | None) -> None:
    assert of(keepAlive=keep_alive).keep_alive_seconds == expected


def test_a_model_that_does_not_say_how_long_it_stays_does_so_for_ollamas_five_minutes() -> None:
    assert of().keep_alive_seconds == 5 * 60


@pytest.mark.parametrize(("asked", "expected"), [(7.0, 7.0), (-1.0, None)])
def test_keep_alive_is_as_the_last_request_asked(asked: float, expected: float | None) -> None:
    load = Load(complete=True, keep_alive_seconds=asked)
    assert engine(pooled.member(load=load)).keep_alive_seconds == expected


@pytest.mark.parametrize(
    ("load", "unload", "pinned"),
    [
        (None, None, False),
        (LATER, None, True),
        (LATER, EARLIER, True),
        (EARLIER, LATER, False),
        ("yesterday", None, False),
    ],
)
def test_one_that_was_loaded_by_name_is_pinned_until_it_is_unloaded(
    load: str | None, unload: str | None, *, pinned: bool
) -> None:
    given = {names.ANNOTATION_LOAD: load, names.ANNOTATION_UNLOAD: unload}
    annotations = {name: value for name, value in given.items() if value is not None}
    assert of(annotations=annotations).pinned is pinned


def test_a_keep_alive_without_end_pins_from_the_beginning() -> None:
    assert of(keepAlive="-1").pinned
    assert not of(keepAlive="-1", annotations={names.ANNOTATION_UNLOAD: LATER}).pinned


def test_an_engine_is_unloaded_when_each_of_its_models_was() -> None:
    gone = pooled.member(pooled.model_cr("a", annotations={names.ANNOTATION_UNLOAD: LATER}))
    stays = pooled.member(pooled.model_cr("b"))
    assert engine(gone).unload_asked is not None
    assert engine(gone, stays).unload_asked is None


def edited(*numbers: int) -> tuple[Member, list[str]]:
    """A model with plans of so many GiB each, of which its spec asks for the last."""
    now = pooled.model_cr()
    before = pooled.model_cr(runtime={"maxModelLen": 1024})
    last = len(numbers) - 1
    plans = [
        pooled.plan_of(now if at == last else before, number=number, gib=10 + at)
        for at, number in enumerate(numbers)
    ]
    in_order = sorted(plans, key=lambda one: one.number)
    return pooled.member(now, *in_order), [one.id for one in plans]


@pytest.mark.parametrize("numbers", [(1, 2), (1, 2, 3), (2, 1)])
def test_the_wanted_engine_takes_the_place_of_the_one_that_serves(numbers: tuple[int, ...]) -> None:
    """Also past one that never served, and where an edit was taken back."""
    member, ids = edited(*numbers)
    found = question(pooled.observed(member, **serving(ids[0])))
    assert found.engine[ids[-1]].supersedes == ids[0]
    assert found.engine[ids[-1]].models == ("a",)
    assert found.engine[ids[0]].models == ()


def test_nothing_is_loaded_for_a_paused_model() -> None:
    """Neither for requests that were held before, nor by name, nor for an edit."""
    load = Load(complete=True, held=3, oldest_seconds=7.0)
    cr = pooled.model_cr(paused=True, keepAlive="-1", annotations={names.ANNOTATION_LOAD: LATER})
    found = question(pooled.observed(pooled.member(cr, load=load)))
    assert [(one.paused, one.pinned) for one in found.engines] == [(True, False)]
    assert [(one.held, one.oldest_held_seconds) for one in found.demand.values()] == [(0, 0.0)]
    plans = pooled.plan_of(pooled.model_cr()), pooled.plan_of(cr, number=2, gib=10)
    edits = question(pooled.observed(pooled.member(cr, *plans), **serving(plans[0].id)))
    assert [one.supersedes for one in edits.engines] == [None, None]
    assert all(one.paused for one in edits.engines)


def test_an_engine_is_left_alone_for_one_paused_model_and_loaded_for_another() -> None:
    load = Load(complete=True, held=2, oldest_seconds=5.0)
    one = pooled.member(pooled.model_cr("a", paused=True), load=load)
    two = pooled.member(pooled.model_cr("b", keepAlive="-1"), load=load)
    found = question(pooled.observed(one, two))
    (shared,) = found.engines
    assert (shared.models, shared.paused, shared.pinned) == (("a", "b"), True, True)
    assert found.demand[shared.id].held == 2


def test_where_nothing_serves_no_place_is_taken() -> None:
    member, ids = edited(1, 2)
    assert question(pooled.observed(member)).engine[ids[1]].supersedes is None


def test_one_that_is_superseded_keeps_its_models_keep_alive() -> None:
    member, ids = edited(1, 2)
    found = question(pooled.observed(member, **serving(ids[0])))
    assert found.engine[ids[0]].keep_alive_seconds == found.engine[ids[1]].keep_alive_seconds > 0


def test_until_files_are_there_the_plan_before_is_wanted() -> None:
    now, before = pooled.model_cr(), pooled.model_cr(runtime={"maxModelLen": 1024})
    fetched, old = pooled.plan_of(now, number=2, gib=20, files="f"), pooled.plan_of(before)
    both, alone = pooled.member(now, old, fetched), pooled.member(now, fetched)
    assert pooled.observed(both).wanted(both) == old
    assert pooled.observed(alone).wanted(alone) is None


def test_an_engine_that_is_somewhere_has_had_its_files_whatever_became_of_their_job() -> None:
    now = pooled.model_cr()
    member = pooled.member(now, pooled.plan_of(now, files="f"))
    (plan,) = member.revisions
    assert pooled.observed(member, **serving(plan.id)).wanted(member) == plan


def demand(load: Load, **known: Any) -> Demand:
    member = pooled.member(load=load)
    (id_,) = (one.id for one in member.revisions)
    return question(pooled.observed(member, **known)).demand[id_]


def test_held_requests_are_of_the_engine_that_is_asked_for() -> None:
    found = demand(Load(complete=True, held=3, oldest_seconds=4.0, idle_seconds=0.0))
    assert (found.held, found.oldest_held_seconds) == (3, 4.0)


def test_requests_in_flight_are_the_more_of_what_pod_and_gateways_count() -> None:
    (id_,) = (one.id for one in pooled.member().revisions)
    known = serving(id_)
    busy = {**known, "pods": (pooled.pod(pooled.engine_report(id_, in_flight=5)),)}
    sent = Load(complete=True, in_flight={names.pool_endpoint(pooled.POD_UID, id_): 2})
    assert demand(sent, **known).in_flight == 2
    assert demand(sent, **busy).in_flight == 5


def test_until_every_gateway_was_heard_nothing_is_idle() -> None:
    assert demand(Load(idle_seconds=900.0), complete=False).idle_seconds == 0.0
    assert demand(Load(complete=True, idle_seconds=900.0)).idle_seconds == 900.0


def test_a_load_takes_as_long_as_the_last_one() -> None:
    member = pooled.member()
    (id_,) = (one.id for one in member.revisions)
    observed = pooled.observed(member)
    assert question(observed, **{id_: History(load_seconds=77)}).engine[id_].load_seconds == 77
    assert question(observed).engine[id_].load_seconds > 0


def test_a_pod_that_does_not_answer_takes_no_orders() -> None:
    silent = pooled.pod(ready=False)
    (found,) = question(pooled.observed(pods=(silent,))).pods
    assert not found.takes_orders
