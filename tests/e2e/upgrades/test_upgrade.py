"""From the last release to this one, back, and here again, under traffic: no model notices.

Every third request is a stream that outlives a replacement of the gateway. The model is made by the
earlier release's operator, and each operator in turn has to obey a change of its size.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from e2e.upgrades.administrator import Administrator, engines, schemas_of
from releases import TODAY, Release

from bench.cluster import zero_drop
from bench.cluster.traffic import Result, table
from bench.cluster.zero_drop import Disturbance, Plan, Scene
from dev import standin
from dev.installed import Berth

NAMESPACE = "berth-e2e-upgrade"
MODEL = "steady"
SERVING_SECONDS = 120
# The chart's default: while it is replaced there are two.
GATEWAYS = 1
TOKENS_PER_SECOND = "25"
LONG_TOKENS = 750  # half a minute each
PER_SECOND = 6.0


@dataclass(frozen=True)
class Stage:
    """The cluster as one release left it, after its operator has obeyed."""

    engines: dict[str, int]
    revision: str
    schemas: dict[str, Any]


@dataclass(frozen=True)
class Voyage:
    """Under the earlier release, upgraded, rolled back and upgraded again."""

    stages: tuple[Stage, ...]
    results: Sequence[Result]


@contextmanager
def steady(berth: Berth) -> Iterator[Scene]:
    """A model that answers equal requests with equal bytes."""
    variables = {"STANDIN_DETERMINISTIC": "1", "STANDIN_TOKENS_PER_SECOND": TOKENS_PER_SECOND}
    with standin.hub(berth, NAMESPACE):
        berth.apply(
            standin.model(
                NAMESPACE,
                MODEL,
                "hf://berth/tiny",
                variables,
                replicas=1,
                resources={"memory": standin.LEAST_MEMORY},
            )
        )
        scene = Scene(berth, MODEL, NAMESPACE)
        berth.wait(
            MODEL,
            lambda status: status.get("phase") == "Serving",
            seconds=SERVING_SECONDS,
            namespace=NAMESPACE,
        )
        yield scene


@pytest.fixture(scope="module")
def voyage(berth: Berth, administrator: Administrator, previous: Release) -> Voyage:
    administrator.install_previous(previous, GATEWAYS)
    with steady(berth) as scene:
        stages = [seen(administrator, scene)]

        def leg(by: Callable[[], None], replicas: int) -> Disturbance:
            async def travel(scene: Scene) -> None:
                await asyncio.to_thread(by)
                await asyncio.to_thread(scene.patch, {"replicas": replicas})
                await scene.settle(replicas)
                stages.append(await asyncio.to_thread(seen, administrator, scene))

            return travel

        legs = (
            leg(administrator.upgrade_to_today, replicas=2),
            leg(administrator.roll_back, replicas=3),
            leg(administrator.upgrade_to_today, replicas=4),
        )
        plan = Plan(0, PER_SECOND, LONG_TOKENS, compare_text=False)
        results = asyncio.run(zero_drop.run(scene, plan, legs))
        return Voyage(tuple(stages), results)


def seen(administrator: Administrator, scene: Scene) -> Stage:
    return Stage(
        engines(scene.berth, scene.namespace),
        scene.status()["updateRevision"],
        administrator.schemas(),
    )


def test_fault_18_an_upgrade_and_the_way_back_refuse_no_request_and_cut_no_stream(
    voyage: Voyage,
) -> None:
    assert zero_drop.failures(voyage.results, kills=[]) == [], table(voyage.results)
    long = [one for one in voyage.results if one.ask.max_tokens == LONG_TOKENS]
    assert len(long) > PER_SECOND * 10


def test_fault_18_no_engine_is_restarted_by_an_upgrade_or_the_way_back(voyage: Voyage) -> None:
    """Each release's operator has added one."""
    for before, after in zip(voyage.stages, voyage.stages[1:], strict=False):
        assert before.engines.items() <= after.engines.items()
        assert len(after.engines) == len(before.engines) + 1


def test_fault_18_no_model_is_planned_anew_by_either(voyage: Voyage) -> None:
    assert len({stage.revision for stage in voyage.stages}) == 1


def test_the_definition_is_each_releases_own(voyage: Voyage, previous: Release) -> None:
    expected = [schemas_of(release) for release in (previous, TODAY, previous, TODAY)]
    assert [stage.schemas for stage in voyage.stages] == expected
