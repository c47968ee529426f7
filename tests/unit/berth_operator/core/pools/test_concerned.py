from dataclasses import replace
from typing import Any

import pooled

from berth_api.pool import PoolEngine, PoolStatus
from berth_operator.core.pools import concerned
from berth_operator.core.pools.observed import PoolObserved

A = pooled.member()
B = pooled.member(pooled.model_cr("b", "pvc://models/b"))
IDS = {member.name: member.revisions[0].id for member in (A, B)}


def status(**percents: int | None) -> dict[str, Any]:
    """Of engines that load, by the model."""
    engines = [
        PoolEngine(id=IDS[name], state="Loading", memory_bytes=1, percent=percent)
        for name, percent in percents.items()
    ]
    return PoolStatus(engines=engines).wire()


def seen(told: dict[str, Any] | None) -> PoolObserved:
    observed = pooled.observed(A, B)
    return replace(observed, cr=observed.cr | ({} if told is None else {"status": told}))


def test_a_load_that_gets_on_is_news_to_its_own_model() -> None:
    assert concerned.models(seen(status(a=1, b=1)), status(a=2, b=1)) == ("a",)


def test_what_is_told_first_and_what_is_told_no_more_is_news() -> None:
    assert concerned.models(seen(None), status(a=1)) == ("a",)
    assert concerned.models(seen(status(a=1, b=1)), status(a=1)) == ("b",)


def test_the_engine_of_a_plan_before_is_its_models_too() -> None:
    cr = pooled.model_cr()
    edited = pooled.member(cr, *A.revisions, pooled.plan_of(cr, number=2, gib=20))
    observed = replace(seen(status(a=1)), members=(edited, B))
    assert concerned.models(observed, status(a=2)) == ("a",)


def test_what_is_told_of_the_pool_alone_is_no_models_news() -> None:
    assert concerned.models(seen(status(a=1)), status(a=1) | {"phase": "Degraded"}) == ()
    assert concerned.models(seen(None), None) == ()
