import asyncio
import itertools
import random
from dataclasses import dataclass, field, replace
from typing import Any

import builders
import pytest
from fakes.cluster import Call, FakeCluster, Fault

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.execute import Executed, Executor
from berth_operator.cluster.observe import Observer
from berth_operator.cluster.sync import Feed
from berth_operator.cluster.warnings import WarningReader
from berth_operator.core.decide import decide
from berth_operator.core.observed import Observed, Refusal, Remembered
from berth_operator.core.outcome import Attention, Outcome
from berth_operator.core.planner.context import Context
from berth_operator.errors import Denied, Unavailable
from berth_operator.handlers import take
from berth_operator.metrics import Metrics
from berth_operator.reconcile import (
    OUTDATED_RETRY_SECONDS,
    REFUSED_RETRY_SECONDS,
    Decide,
    Reconciler,
    next_look,
)
from berth_operator.spec_pace import FOLLOW_SECONDS, SpecPace
from berth_operator.workqueue import WorkQueue

KEY = ModelKey("team", "smol")


def unhurried() -> SpecPace[ModelKey]:
    """Whatever comes next comes later."""
    return SpecPace(itertools.count(step=2 * FOLLOW_SECONDS).__next__)


class Silent:
    async def read(self, pod: Any) -> bytes | None:
        return None


def one_service(observed: Observed, _: Context) -> Outcome:
    """The smallest decision with a child and a status that tells what was refused."""
    owner = {"uid": observed.cr["metadata"]["uid"], "controller": True}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"{observed.cr['metadata']['name']}-engine",
            "namespace": observed.cr["metadata"]["namespace"],
            "labels": {names.LABEL_MODEL: observed.cr["metadata"]["name"]},
            "ownerReferences": [owner],
        },
        "spec": {"replicas": observed.cr["spec"]["replicas"]},
    }
    refused = [one.message for one in observed.refusals]
    return Outcome(
        apply=(service,), status={"made": len(observed.children.services), "refused": refused}
    )


@dataclass
class Bench:
    """The operator without kopf: the fake cluster's events feed the cache and the queue."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    cache: Cache = field(default_factory=Cache)
    looks: list[ModelKey] = field(default_factory=list)
    decide: Decide = one_service

    def __post_init__(self) -> None:
        self.queue: WorkQueue[ModelKey] = WorkQueue(
            clock=asyncio.get_running_loop().time, chance=random.Random(7)
        )
        self.queue.backoff = lambda key: 0.0  # type: ignore[method-assign]
        self.feed = Feed(self.cache, kinds.HANDLED, lambda _, keys: self.queue.add_all(keys))
        self.cluster.watchers.append(self._on_event)
        self.metrics = Metrics()
        self.reconciler = Reconciler(
            Observer(
                self.cache,
                Silent(),
                WarningReader(self.cluster, clock=lambda: 0),
                lambda: builders.NOW,
            ),
            self.decide,
            builders.context(),
            Executor(self.cluster, self.cache, lambda *_: None),
            self.metrics,
            specs=unhurried(),
        )

    def create(self, replicas: int = 1) -> None:
        metadata = {"name": KEY.name, "namespace": KEY.namespace}
        self.cluster.put(
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": metadata,
                "spec": {"replicas": replicas},
            }
        )

    async def rest(self) -> None:
        """Works until there is nothing to do."""
        running = asyncio.create_task(self.queue.run(self._look, workers=2))
        for _ in range(200):
            await asyncio.sleep(0)
        self.queue.close()
        await running
        self.queue._closed = False

    def status(self) -> Any:
        found = self.cluster.find(kinds.MODEL, *KEY)
        assert found is not None
        return found["status"]

    async def _look(self, key: ModelKey) -> float | None:
        self.looks.append(key)
        return await self.reconciler(key)

    def _on_event(self, kind: kinds.Kind, event: Any) -> None:
        if kind in kinds.WATCHED:
            take(self.feed, kind, event)


async def test_an_event_leads_to_children_and_a_status_and_then_to_rest() -> None:
    bench = Bench()
    bench.create()
    await bench.rest()
    assert bench.cluster.find(kinds.SERVICE, "team", "smol-engine") is not None
    assert bench.status() == {"made": 1, "refused": []}
    writes, looks = list(bench.cluster.writes), len(bench.looks)
    await bench.rest()
    assert (bench.cluster.writes, len(bench.looks)) == (writes, looks)


async def test_a_restart_writes_nothing() -> None:
    before = Bench()
    before.create()
    await before.rest()
    after = Bench(cluster=FakeCluster(objects=before.cluster.objects))
    for (kind, _, _), obj in list(after.cluster.objects.items()):
        after.cache.upsert(kind, obj)
    after.queue.add(KEY)
    await after.rest()
    assert after.looks == [KEY]
    assert after.cluster.writes == []


async def test_a_deleted_child_is_made_again() -> None:
    bench = Bench()
    bench.create()
    await bench.rest()
    bench.cluster.remove(kinds.SERVICE, "team", "smol-engine")
    await bench.rest()
    assert bench.cluster.find(kinds.SERVICE, "team", "smol-engine") is not None


async def test_a_changed_spec_reaches_the_children() -> None:
    bench = Bench()
    bench.create()
    await bench.rest()
    bench.create(replicas=3)
    await bench.rest()
    service = bench.cluster.find(kinds.SERVICE, "team", "smol-engine")
    assert service is not None
    assert service["spec"] == {"replicas": 3}


async def test_of_two_changes_in_one_moment_the_second_waits_for_its_end() -> None:
    bench = Bench()
    bench.reconciler = replace(bench.reconciler, specs=SpecPace(lambda: 0.0))
    bench.create()
    await bench.rest()
    bench.create(replicas=3)
    assert await bench.reconciler(KEY) == FOLLOW_SECONDS
    service = bench.cluster.find(kinds.SERVICE, "team", "smol-engine")
    assert service is not None
    assert service["spec"] == {"replicas": 1}


async def test_a_deleted_model_leaves_nothing_and_is_forgotten() -> None:
    bench = Bench()
    bench.create()
    await bench.rest()
    bench.cluster.remove(kinds.MODEL, *KEY)
    await bench.rest()
    assert bench.cluster.objects == {}
    assert bench.reconciler.carried == {}


async def test_what_was_refused_is_told_in_the_status_by_the_next_look() -> None:
    bench = Bench()
    bench.cluster.faults.append(Fault(Denied("exceeded quota"), "apply", times=10**6))
    bench.create()
    await bench.rest()
    assert bench.status() == {"made": 0, "refused": ["exceeded quota"]}
    assert len(bench.looks) < 5


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("failures", [1, 3])
async def test_an_api_server_that_comes_back_finds_one_of_each(
    *, failures: int, after: bool
) -> None:
    bench = Bench()
    bench.cluster.faults.append(Fault(Unavailable("down"), times=failures, after=after))
    bench.create()
    await bench.rest()
    assert bench.status() == {"made": 1, "refused": []}
    made = [call for call in bench.cluster.writes if call.kind == "Service"]
    assert len(made) <= failures + 1
    assert Call("delete", "Service", "smol-engine") not in bench.cluster.calls


REQUESTS_OF_A_MODEL = 20  # somewhat more than a model takes until its Deployment stands


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(REQUESTS_OF_A_MODEL))
async def test_whichever_request_is_lost_the_same_objects_are_made(
    *, number: int, after: bool
) -> None:
    undisturbed = await _served_by(Bench(decide=decide))
    fault = Fault(Unavailable("reset"), skip=number, after=after)
    disturbed = await _served_by(Bench(decide=decide, cluster=FakeCluster(faults=[fault])))
    assert len(undisturbed) == 6  # the model, and one of each kind
    assert disturbed == undisturbed


async def _served_by(bench: Bench) -> set[tuple[str, str]]:
    """Kinds and names of all that exists once the model's shape has been read."""
    cr = builders.model_deployment()
    bench.cluster.put(cr | {"metadata": {"name": KEY.name, "namespace": KEY.namespace}})
    await bench.rest()
    (job,) = bench.cluster.of_kind(kinds.JOB)
    pod = dict(builders.shape_pod(job).object)
    labels = pod["metadata"]["labels"] | {names.LABEL_MODEL: KEY.name}
    created = job["metadata"]["creationTimestamp"]
    placed = {"namespace": KEY.namespace, "labels": labels, "creationTimestamp": created}
    metadata = pod["metadata"] | placed
    bench.cluster.put(pod | {"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    await bench.rest()
    return {(kind.kind, name) for kind, _, name in bench.cluster.objects if kind is not kinds.POD}


@dataclass(frozen=True)
class Noting(Executor):
    executed: list[Executed] = field(default_factory=list)

    async def execute(self, observed: Observed, outcome: Outcome) -> Executed:
        executed = await super().execute(observed, outcome)
        self.executed.append(executed)
        return executed


async def test_the_engine_key_is_written_once_though_the_service_comes_a_look_later() -> None:
    bench = Bench(decide=decide)
    noting = Noting(bench.cluster, bench.cache, lambda *_: None)
    bench.reconciler = replace(bench.reconciler, executor=noting)
    await _served_by(bench)
    order = [call.kind for call in bench.cluster.writes if call.kind in {"Secret", "Service"}]
    assert order == ["Secret", "Service"]
    assert [one.unfinished for one in noting.executed if one.applied] == [False, True, False]


async def test_what_an_unfinished_look_would_have_told_is_decided_anew() -> None:
    remembered: list[Remembered] = []

    def deciding(observed: Observed, context: Context) -> Outcome:
        remembered.append(observed.remembered)
        outcome = one_service(observed, context)
        (service,) = outcome.apply
        deployment = service | {"apiVersion": "apps/v1", "kind": "Deployment"}
        told = Remembered(asked=1, status_at=observed.now, key="k")
        return replace(outcome, apply=(service, deployment), remember=told)

    bench = Bench(decide=deciding)
    bench.create()
    await bench.rest()
    first, second, third = remembered[:3]
    assert (first, second) == (Remembered(), Remembered(key="k"))
    assert third == Remembered(asked=1, status_at=builders.NOW, key="k")


async def test_looks_are_counted_by_their_result() -> None:
    bench = Bench()
    bench.create()
    await bench.rest()
    count = bench.metrics.registry.get_sample_value
    name = "berth_operator_reconcile_seconds_count"
    assert count(name, {"result": "changed"}) == 2
    assert (count(name, {"result": "rest"}) or 0) >= 0


REFUSED = (Refusal("Deployment", "smol-1", "quota"),)
OTHER_WORDS = (Refusal("Deployment", "smol-1", "quota, request 4711"),)


@pytest.mark.parametrize(
    ("before", "wish", "executed", "expected"),
    [
        ((), None, Executed(), None),
        ((), 5.0, Executed(), 5.0),
        ((), 5.0, Executed(refusals=REFUSED), 0.0),
        ((), 5.0, Executed(unfinished=True), 0.0),
        (REFUSED, None, Executed(refusals=REFUSED), REFUSED_RETRY_SECONDS),
        (REFUSED, 5.0, Executed(refusals=REFUSED), 5.0),
        (REFUSED, None, Executed(), OUTDATED_RETRY_SECONDS),
        (REFUSED, None, Executed(refusals=OTHER_WORDS), REFUSED_RETRY_SECONDS),
        ((), 5.0, Executed(outdated=True), OUTDATED_RETRY_SECONDS),
    ],
)
def test_the_next_look_comes_when_there_is_reason_to(
    before: tuple[Refusal, ...], wish: float | None, executed: Executed, expected: float | None
) -> None:
    observed = Observed(cr={}, now=builders.NOW, refusals=before)
    outcome = Outcome(look_again_seconds=wish)
    assert next_look(observed, outcome, executed) == expected


async def test_what_a_decision_remembers_and_waits_for_reaches_the_next_look() -> None:
    seen: list[int | None] = []
    attended: list[Attention | None] = []

    def counting(observed: Observed, _: Context) -> Outcome:
        seen.append(observed.remembered.asked)
        asked = (observed.remembered.asked or 0) + 1
        return Outcome(remember=Remembered(asked=asked), attention=Attention(asked))

    bench = Bench(decide=counting)
    bench.reconciler = replace(
        bench.reconciler, attend=lambda key, attention: attended.append(attention)
    )
    bench.create()
    await bench.rest()
    bench.create(replicas=2)
    await bench.rest()
    bench.cluster.remove(kinds.MODEL, *KEY)
    await bench.rest()
    assert seen == [None, 1]
    assert attended == [Attention(1), Attention(2), None]
