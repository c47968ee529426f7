import copy
from typing import Any

import pooled
import pytest

from berth_operator.core import revision as dedicated
from berth_operator.core.pools import pool, revision
from berth_operator.core.resolved import resolve


def stored(cr: dict[str, Any] | None = None) -> dict[str, Any]:
    given = cr or pooled.model_cr()
    return revision.to_object(resolve(given), pooled.plan_of(given))


def test_a_plan_is_read_back_as_it_was_written() -> None:
    plan = pooled.plan_of(pooled.model_cr(), files="0123")
    (read,) = revision.readable([revision.to_object(resolve(pooled.model_cr()), plan)])
    assert read == plan
    assert read.id == plan.id


def test_a_dedicated_models_plan_is_none_of_a_pool_and_the_other_way_round() -> None:
    own = stored()
    assert revision.is_pooled(own)
    assert dedicated.readable([own]) == []
    alone = copy.deepcopy(own)
    alone["data"]["template"] = {}
    del alone["data"]["pooled"]
    assert revision.readable([alone]) == []


@pytest.mark.parametrize("broken", ["pool", "poolHash", "engine", "files"])
def test_what_cannot_be_read_is_as_if_it_were_not_there(broken: str) -> None:
    damaged = stored()
    del damaged["data"]["pooled"][broken]
    assert revision.readable([damaged, stored()]) == revision.readable([stored()])


@pytest.mark.parametrize(
    "named",
    [{"name": "b"}, {"keepAlive": "1m"}, {"priority": 3}, {"evictable": False}],
)
def test_models_that_only_differ_in_words_share_an_engine(named: dict[str, Any]) -> None:
    assert pooled.plan_of(pooled.model_cr(**named)).id == pooled.plan_of(pooled.model_cr()).id


@pytest.mark.parametrize(
    "changed",
    [
        {"gib": 31},
        {"engine": {"max_model_len": 2048}},
        {"engine": {"extra_args": ["--seed", "7"]}},
        {"plan": {"image": "example.test/other:2"}},
    ],
)
def test_what_makes_another_engine_makes_another_identity(changed: dict[str, Any]) -> None:
    cr = pooled.model_cr()
    assert pooled.plan_of(cr, **changed).id != pooled.plan_of(cr).id
    elsewhere = pooled.model_cr(source="pvc://models/b")
    assert pooled.plan_of(elsewhere, **changed).id != pooled.plan_of(cr, **changed).id


def test_a_pool_that_has_changed_has_a_plan_of_another_name_and_maybe_the_same_engine() -> None:
    cr = pooled.model_cr()
    before = pooled.plan_of(cr)
    larger = pool.resolve(pooled.pool_cr(resources={"memory": "64Gi"}))
    after = revision.make(
        resolve(cr),
        before.plan,
        before.shape,
        number=2,
        pool=larger.name,
        pool_hash=larger.plan_hash,
        engine=before.engine,
        files=before.files,
    )
    assert after.name != before.name
    assert after.id == before.id


def test_on_cpu_an_engine_takes_the_memory_of_all_its_ranks() -> None:
    cpu = {"gpus_per_replica": 0, "tensor_parallel_size": 2}
    plan = pooled.plan_of(pooled.model_cr(), gib=3, plan=cpu)
    assert (plan.on_cpu, plan.cards, plan.card_bytes) == (True, 1, 6 * pooled.GIB)
