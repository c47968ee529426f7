import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes.cluster import Call, FakeCluster, Fault

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.execute import Executed, Executor
from berth_operator.cluster.learned import Memory
from berth_operator.core.observed import Object, Observed, Refusal, Remembered
from berth_operator.core.outcome import Deletion, Event, EventType, Outcome, Patch
from berth_operator.core.planner.learned import Record
from berth_operator.errors import Denied, Unavailable

KEY = ModelKey("team", "smol")
QUOTA = "exceeded quota: gpus, requested: 1, used: 4, limited: 4"


@dataclass
class Bench:
    """An executor on a fake cluster with one ModelDeployment, whose watch feeds the cache."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    cache: Cache = field(default_factory=Cache)
    posted: list[Event] = field(default_factory=list)
    remembered: Remembered = field(default_factory=Remembered)

    def __post_init__(self) -> None:
        cr = {"name": KEY.name, "namespace": KEY.namespace}
        self.cluster.watchers.append(self._feed)
        self.cluster.put(
            {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": cr, "spec": {}}
        )

    @property
    def cr(self) -> Object:
        found = self.cache.model(KEY)
        assert found is not None
        return found

    def observed(self) -> Observed:
        import builders

        return Observed(
            cr=self.cr,
            now=builders.NOW,
            children=self.cache.children(KEY, self.cr["metadata"]["uid"]),
            remembered=self.remembered,
        )

    async def execute(self, **outcome: Any) -> Executed:
        executor = Executor(self.cluster, self.cache, lambda _, event: self.posted.append(event))
        return await executor.execute(self.observed(), Outcome(**outcome))

    def child(
        self, kind: kinds.Kind = kinds.SERVICE, name: str = "smol-engine", **more: Any
    ) -> Any:
        owner = {"uid": self.cr["metadata"]["uid"], "controller": True}
        return {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {
                "name": name,
                "namespace": KEY.namespace,
                "labels": {names.LABEL_MODEL: KEY.name},
                "ownerReferences": [owner],
            },
        } | more

    def _feed(self, kind: kinds.Kind, event: Any) -> None:
        if kind not in kinds.WATCHED or (kind in kinds.OWNED and not _labelled(event["object"])):
            return
        if event["type"] == "DELETED":
            self.cache.remove(kind, event["object"]["metadata"]["uid"])
        else:
            self.cache.upsert(kind, event["object"])


def _labelled(obj: Object) -> bool:
    return names.LABEL_MODEL in obj["metadata"].get("labels", {})


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_executing_twice_writes_once(bench: Bench) -> None:
    outcome = {"apply": (bench.child(), bench.child(kinds.BUDGET)), "status": {"phase": "Pending"}}
    first = await bench.execute(**outcome)
    made = ("Service/smol-engine (missing)", "PodDisruptionBudget/smol-engine (missing)")
    assert first == Executed(applied=made, status_written=True)
    writes = list(bench.cluster.writes)
    assert await bench.execute(**outcome) == Executed()
    assert bench.cluster.writes == writes


STARTED = Event(EventType.NORMAL, "Started", "one replica")


async def test_a_look_that_begins_to_make_pods_leaves_the_rest(bench: Bench) -> None:
    old = bench.cluster.put(bench.child(kinds.JOB, "smol-shape"))
    outcome = {
        "apply": (bench.child(), bench.child(kinds.DEPLOYMENT, "smol-1", spec={"replicas": 1})),
        "delete": (Deletion("batch/v1", "Job", "smol-shape", old["metadata"]["uid"]),),
        "status": {"phase": "Pending"},
        "events": (STARTED,),
    }
    first = await bench.execute(**outcome)
    assert first == Executed(applied=("Deployment/smol-1 (missing)",), unfinished=True)
    assert (len(bench.cluster.writes), bench.posted) == (1, [])
    assert await bench.execute(**outcome) == Executed(
        applied=("Service/smol-engine (missing)",), deleted=("Job/smol-shape",), status_written=True
    )
    assert bench.posted == [STARTED]


ALL_AT_ONCE = Executed(
    applied=("Deployment/smol-2 (missing)", "Service/smol-engine (missing)"), status_written=True
)


async def test_a_roll_out_leaves_nothing(bench: Bench) -> None:
    bench.cluster.put(bench.child(kinds.DEPLOYMENT, "smol-1"))
    wanted = (bench.child(), bench.child(kinds.DEPLOYMENT, "smol-2"))
    assert await bench.execute(apply=wanted, status={"phase": "Updating"}) == ALL_AT_ONCE


async def test_where_pods_are_taken_away_again_and_again_the_rest_is_still_brought(
    bench: Bench,
) -> None:
    bench.remembered = Remembered(key="of an earlier look")
    wanted = (bench.child(), bench.child(kinds.DEPLOYMENT, "smol-2"))
    assert await bench.execute(apply=wanted, status={"phase": "Pending"}) == ALL_AT_ONCE


async def test_where_nothing_else_is_due_the_first_look_is_the_whole(bench: Bench) -> None:
    await bench.execute(apply=(bench.child(),))
    wanted = (bench.child(), bench.child(kinds.DEPLOYMENT, "smol-1"))
    executed = await bench.execute(apply=wanted, status={"phase": "Pending"})
    assert executed == Executed(applied=("Deployment/smol-1 (missing)",), status_written=True)


async def test_what_makes_pods_and_is_refused_holds_nothing_else_back(bench: Bench) -> None:
    bench.cluster.faults.append(Fault(Denied(QUOTA), "apply", kinds.DEPLOYMENT.kind))
    executed = await bench.execute(apply=(bench.child(), bench.child(kinds.DEPLOYMENT, "smol-1")))
    assert executed.applied == ("Service/smol-engine (missing)",)
    assert (len(executed.refusals), executed.unfinished) == (1, False)


async def test_what_another_builds_on_is_written_first(bench: Bench) -> None:
    secret = bench.child(kinds.SECRET, "smol-engine-key", data={"engineKey": "YQ=="})
    wanted = (bench.child(kinds.DEPLOYMENT, "smol-1"), bench.child(kinds.REVISION, "smol-1"))
    await bench.execute(apply=(bench.child(), *wanted, secret))
    await bench.execute(apply=(bench.child(), *wanted))
    order = [call.kind for call in bench.cluster.writes]
    assert set(order[:2]) == {"Secret", "ControllerRevision"}
    assert order[2:] == ["Deployment", "Service"]


async def test_writes_come_in_order_and_the_status_last(bench: Bench) -> None:
    old = bench.cluster.put(bench.child(kinds.JOB, "smol-shape"))
    await bench.execute(
        apply=(bench.child(kinds.BUDGET), bench.child(kinds.SERVICE)),
        delete=(Deletion("batch/v1", "Job", "smol-shape", old["metadata"]["uid"]),),
        status={"phase": "Ready"},
    )
    assert bench.cluster.writes == [
        Call("apply", "PodDisruptionBudget", "smol-engine"),
        Call("apply", "Service", "smol-engine"),
        Call("delete", "Job", "smol-shape"),
        Call("apply_status", "ModelDeployment", "smol"),
    ]


def marking(name: str, uid: str) -> Patch:
    changes = {"metadata": {"labels": {names.LABEL_ROUTE: None}, "annotations": {"a": "b"}}}
    return Patch("v1", "Pod", name, uid, changes)


async def test_a_pod_is_marked_before_its_deployment_is_applied(bench: Bench) -> None:
    pod = bench.cluster.put(bench.child(kinds.POD, "smol-1-x"))
    done = await bench.execute(
        patch=(marking("smol-1-x", pod["metadata"]["uid"]),),
        apply=(bench.child(kinds.DEPLOYMENT, "smol-1", spec={"replicas": 1}),),
    )
    assert done.patched == ("Pod/smol-1-x",)
    assert bench.cluster.writes == [
        Call("patch", "Pod", "smol-1-x"),
        Call("apply", "Deployment", "smol-1"),
    ]
    (seen,) = bench.cache.pods(KEY)
    assert seen["metadata"]["annotations"] == {"a": "b"}


async def test_a_pod_that_has_gone_is_no_error_and_is_looked_for_again(bench: Bench) -> None:
    bench.cluster.put(bench.child(kinds.POD, "smol-1-x"))
    done = await bench.execute(patch=(marking("gone", "1"), marking("smol-1-x", "another")))
    assert (done.patched, done.refusals, done.outdated) == ((), (), True)


async def test_a_patch_that_is_forbidden_is_told_and_stops_no_apply(bench: Bench) -> None:
    pod = bench.cluster.put(bench.child(kinds.POD, "smol-1-x"))
    bench.cluster.faults.append(Fault(Denied("pods is forbidden"), verb="patch", times=9))
    old = bench.cluster.put(bench.child(kinds.JOB, "smol-shape"))
    done = await bench.execute(
        patch=(marking("smol-1-x", pod["metadata"]["uid"]),),
        apply=(bench.child(),),
        delete=(Deletion("batch/v1", "Job", "smol-shape", old["metadata"]["uid"]),),
    )
    assert done.refusals == (Refusal("Pod", "smol-1-x", "pods is forbidden"),)
    assert (done.applied, done.deleted) == (("Service/smol-engine (missing)",), ())


async def test_a_field_that_someone_else_changed_is_put_back(bench: Bench) -> None:
    desired = bench.child(kinds.DEPLOYMENT, "smol-1", spec={"replicas": 1})
    await bench.execute(apply=(desired,))
    live = bench.cluster.find(kinds.DEPLOYMENT, "team", "smol-1")
    assert live is not None
    bench.cluster.put({**live, "spec": {"replicas": 9, "paused": True}})
    executed = await bench.execute(apply=(desired,))
    assert executed.applied == ("Deployment/smol-1 (changed by someone else at .spec.replicas)",)
    mended = bench.cluster.find(kinds.DEPLOYMENT, "team", "smol-1")
    assert mended is not None
    assert mended["spec"] == {"replicas": 1, "paused": True}


async def test_a_lagging_cache_does_not_write_what_is_there(bench: Bench) -> None:
    desired = bench.child()
    await bench.execute(apply=(desired,))
    bench.cache = Cache()
    bench.cache.upsert(kinds.MODEL, await bench.cluster.get(kinds.MODEL, *KEY))
    assert (await bench.execute(apply=(desired,))).applied == ()


async def test_what_nobody_may_change_is_created_without_a_look_before(bench: Bench) -> None:
    desired = bench.child(kinds.REVISION, "smol-1", data={"plan": {}})
    assert (await bench.execute(apply=(desired,))).applied == (
        "ControllerRevision/smol-1 (missing)",
    )
    calls = [call for call in bench.cluster.calls if call.kind == "ControllerRevision"]
    assert calls == [Call("create", "ControllerRevision", "smol-1")]
    bench.cache = Cache()
    bench.cache.upsert(kinds.MODEL, await bench.cluster.get(kinds.MODEL, *KEY))
    assert (await bench.execute(apply=(desired,))).applied == ()


@pytest.mark.parametrize("kind", [kinds.SERVICE, kinds.SECRET, kinds.REVISION])
async def test_a_namesake_of_someone_else_is_never_taken_over(
    bench: Bench, kind: kinds.Kind
) -> None:
    foreign = {**bench.child(kind), "metadata": {"name": "smol-engine", "namespace": "team"}}
    before = bench.cluster.put(foreign)
    executed = await bench.execute(apply=(bench.child(kinds.BUDGET), bench.child(kind)))
    assert bench.cluster.find(kind, "team", "smol-engine") == before
    (refusal,) = executed.refusals
    assert (refusal.kind, refusal.name) == (kind.kind, "smol-engine")
    assert "belongs to something else" in refusal.message
    others = ("PodDisruptionBudget/smol-engine (missing)",)
    assert executed.applied == (() if kind is kinds.SECRET else others)


async def test_a_secret_is_written_whenever_it_is_asked_for_and_never_read(bench: Bench) -> None:
    secret = bench.child(kinds.SECRET, "smol-engine-key", data={"engineKey": "YQ=="})
    for _ in range(2):
        assert (await bench.execute(apply=(secret,))).applied
    verbs = {call.verb for call in bench.cluster.calls if call.kind == "Secret"}
    assert verbs == {"create", "owners", "apply"}


async def test_what_is_refused_is_kept_word_for_word_and_stops_nothing_else(bench: Bench) -> None:
    bench.cluster.faults.append(Fault(Denied(QUOTA, status=403), "apply", "Deployment"))
    executed = await bench.execute(apply=(bench.child(kinds.DEPLOYMENT, "smol-1"), bench.child()))
    assert executed.refusals == (Refusal("Deployment", "smol-1", QUOTA),)
    assert executed.applied == ("Service/smol-engine (missing)",)


async def test_a_key_that_was_refused_is_not_remembered_as_written(bench: Bench) -> None:
    bench.cluster.faults.append(Fault(Denied(QUOTA, status=403), "create", "Secret"))
    secret = bench.child(kinds.SECRET, "smol-engine-key", data={"engineKey": "YQ=="})
    executed = await bench.execute(apply=(secret, bench.child()))
    assert executed.refusals == (Refusal("Secret", "smol-engine-key", QUOTA),)
    assert bench.cluster.find(kinds.SERVICE, "team", "smol-engine") is None


async def test_only_pods_are_deleted_while_something_is_refused(bench: Bench) -> None:
    job = bench.cluster.put(bench.child(kinds.JOB, "smol-shape"))
    pod = bench.cluster.put(bench.child(kinds.POD, "smol-failed"))
    bench.cluster.faults.append(Fault(Denied(QUOTA, status=403), "create", "ControllerRevision"))
    outcome = {
        "apply": (bench.child(kinds.REVISION, "smol-1"),),
        "delete": (
            Deletion("batch/v1", "Job", "smol-shape", job["metadata"]["uid"]),
            Deletion("v1", "Pod", "smol-failed", pod["metadata"]["uid"]),
        ),
    }
    assert (await bench.execute(**outcome)).deleted == ("Pod/smol-failed",)
    assert (await bench.execute(**outcome)).deleted == ("Job/smol-shape",)


async def test_a_status_that_does_not_know_what_was_refused_is_not_written(bench: Bench) -> None:
    bench.cluster.faults.append(Fault(Denied(QUOTA, status=403), "apply", "Deployment"))
    event = Event(EventType.NORMAL, "Activating", "all is well")
    desired = bench.child(kinds.DEPLOYMENT, "smol-1")
    executed = await bench.execute(apply=(desired,), status={"phase": "Ready"}, events=(event,))
    assert (executed.status_written, executed.outdated) == (False, True)
    assert bench.posted == []


async def test_an_api_server_that_is_away_ends_the_look(bench: Bench) -> None:
    bench.cluster.faults.append(Fault(Unavailable("down"), "apply"))
    with pytest.raises(Unavailable):
        await bench.execute(apply=(bench.child(),), status={"phase": "Pending"})
    assert Call("apply_status", "ModelDeployment", "smol") not in bench.cluster.calls


async def test_nothing_is_under_way_once_a_look_has_ended(bench: Bench) -> None:
    bench.cluster.faults.append(Fault(Unavailable("down"), "apply", "PodDisruptionBudget"))
    with pytest.raises(Unavailable):
        await bench.execute(apply=(bench.child(kinds.BUDGET), bench.child(kinds.SERVICE)))
    written = list(bench.cluster.writes)
    assert Call("apply", "Service", "smol-engine") in written
    await asyncio.sleep(0.01)
    assert bench.cluster.writes == written


async def test_an_answer_that_was_lost_is_made_good_by_the_next_look(bench: Bench) -> None:
    bench.cluster.faults.append(Fault(Unavailable("reset"), "apply", after=True))
    with pytest.raises(Unavailable):
        await bench.execute(apply=(bench.child(),))
    assert (await bench.execute(apply=(bench.child(),))).applied == ()


async def test_only_the_very_object_that_was_seen_is_deleted(bench: Bench) -> None:
    bench.cluster.put(bench.child(kinds.JOB, "smol-shape"))
    executed = await bench.execute(
        delete=(
            Deletion("batch/v1", "Job", "smol-shape", "uid-of-a-predecessor"),
            Deletion("batch/v1", "Job", "long-gone", "any"),
        )
    )
    assert executed.deleted == ()
    assert bench.cluster.find(kinds.JOB, "team", "smol-shape") is not None


async def test_the_status_of_a_deleted_model_does_not_reach_its_namesake(bench: Bench) -> None:
    observed = bench.observed()
    bench.cluster.remove(kinds.MODEL, *KEY)
    bench.cluster.put({**observed.cr, "metadata": {"name": KEY.name, "namespace": KEY.namespace}})
    executor = Executor(bench.cluster, bench.cache, lambda *_: None)
    executed = await executor.execute(observed, Outcome(status={"phase": "Ready"}))
    assert executed == Executed(outdated=True)
    live = bench.cluster.find(kinds.MODEL, *KEY)
    assert live is not None
    assert "status" not in live


async def test_what_was_decided_about_one_spec_is_not_told_of_the_next(bench: Bench) -> None:
    observed = bench.observed()
    bench.cluster.put({**observed.cr, "spec": {"replicas": 2}})
    executor = Executor(bench.cluster, bench.cache, lambda *_: None)
    assert (await executor.execute(observed, Outcome(status={"phase": "Ready"}))).outdated


async def test_events_are_posted_after_the_status(bench: Bench) -> None:
    event = Event(EventType.NORMAL, "Activating", "waiting for the pod")
    await bench.execute(events=(event,))
    assert bench.posted == [event]


async def test_what_was_learned_is_kept_before_anything_is_told(bench: Bench) -> None:
    """A status that says it would keep the next look from keeping it."""
    memory = Memory(bench.cluster, "berth-system")
    executor = Executor(bench.cluster, bench.cache, lambda _, __: None, memory)
    record = Record(
        model="hf://a/b",
        shape="a",
        accelerator="h100",
        card_bytes=2**36,
        tensor_parallel=1,
        image="i",
        dtype="bfloat16",
        kv_dtype="auto",
        sequences=256,
        tokens=8192,
        arguments="b",
        extra_bytes=2**30,
        at="2026-01-02T03:04:05Z",
    )
    outcome = Outcome(status={"phase": "Serving"}, learn=(record,))
    bench.cluster.faults.append(Fault(Unavailable("away"), "create", "ConfigMap"))
    with pytest.raises(Unavailable):
        await executor.execute(bench.observed(), outcome)
    assert "status" not in bench.cr
    executed = await executor.execute(bench.observed(), outcome)
    assert executed.learned
    assert executed.status_written
    assert memory.records == {record.key: record}
    assert not (await executor.execute(bench.observed(), outcome)).learned
