"""The operator's process on a real API server, with no more rights than the chart gives it."""

import json
import time
from collections.abc import Callable, Iterator

import gpu_nodes
import pytest
from operator_process import Models, OperatorProcess

from berth_api import names
from berth_api.shape import Failure, Short, Shortage
from berth_operator.cluster.learned import NAME as LEARNED
from dev.kubectl import Kubectl

ALL = ("Secret", "Service", "PodDisruptionBudget", "ControllerRevision", "Deployment")
REST_SECONDS = 5.0  # pods that do not come up are asked every second meanwhile

Start = Callable[..., OperatorProcess]


@pytest.fixture
def served(models: Models, start: Start) -> OperatorProcess:
    """An operator whose only model has all its children."""
    operator = start()
    models.create()
    models.read_shape()
    models.wait_for_children(*ALL)
    settle(models)
    return operator


@pytest.fixture
def node(kubectl: Kubectl, namespace: str) -> Iterator[None]:
    """With room for every pod, and without a kubelet."""
    body = gpu_nodes.h100(namespace).body()
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    ready = {"type": "Ready", "status": "True", "reason": "Said"}
    status = json.dumps({"status": body["status"] | {"conditions": [ready]}})
    kubectl("patch", "node", namespace, "--subresource=status", "--type=merge", "-p", status)
    yield
    kubectl("delete", "node", namespace, "--wait=false")


def settle(models: Models) -> None:
    """Until nothing has changed for two seconds."""
    before: dict[tuple[str, str], str] = {}
    since = time.monotonic()

    def quiet() -> bool:
        nonlocal before, since
        now = models.versions()
        if now != before:
            before, since = now, time.monotonic()
        return time.monotonic() - since > 2

    models.wait_for("rest", quiet)


def test_a_model_gets_all_its_children_and_a_status(
    models: Models, served: OperatorProcess
) -> None:
    kinds = sorted(kind for kind, _ in models.children())
    assert kinds == sorted(ALL)
    status = models.status()
    assert status["plan"]["accelerator"] == "cpu"
    assert status["observedGeneration"] == 1
    models.wait_for("its event", lambda: "Activating" in models.events())


def test_nothing_is_written_at_rest(models: Models, served: OperatorProcess) -> None:
    written, writes = models.written(), served.metric("berth_operator_writes_total")
    looks = served.metric("berth_operator_reconcile_seconds_count")
    time.sleep(REST_SECONDS)
    assert models.written() == written
    assert served.metric("berth_operator_writes_total") == writes
    assert served.metric("berth_operator_reconcile_seconds_count") > looks


def test_a_restart_writes_nothing(models: Models, served: OperatorProcess, start: Start) -> None:
    written = models.written()
    assert served.terminate() == 0
    again = start()
    models.wait_for("looks", lambda: again.metric("berth_operator_reconcile_seconds_count") > 1)
    assert again.metric("berth_operator_writes_total") == 0
    assert models.written() == written


def test_a_model_that_is_deleted_while_the_operator_is_down_leaves_nothing(
    models: Models, served: OperatorProcess
) -> None:
    served.kill()
    models.delete(names.PLURAL, "smol")
    models.wait_for("the garbage collector", lambda: not models.children())

    def left() -> list[str]:
        pods = models.kubectl.json("get", "pods", "--namespace", models.namespace)["items"]
        return [
            one["metadata"]["name"] for one in pods if "deletionTimestamp" not in one["metadata"]
        ]

    models.wait_for("its next round, for the pods", lambda: not left())


def test_a_model_that_is_deleted_is_not_made_again(models: Models, served: OperatorProcess) -> None:
    models.delete(names.PLURAL, "smol")
    models.wait_for("the garbage collector", lambda: not models.children())
    time.sleep(1)
    assert not models.children()


def test_a_changed_child_is_put_back_and_a_deleted_one_made_again(
    models: Models, served: OperatorProcess
) -> None:
    name = next(name for kind, name in models.children() if kind == "Deployment")
    models.edit("deployment", name, {"spec": {"replicas": 5}})
    models.wait_for("1 replica", lambda: models.get("deployment", name)["spec"]["replicas"] == 1)
    models.delete("service", names.engine_service("smol"))
    models.wait_for_children(*ALL)


def test_a_namesake_of_someone_else_is_left_alone_and_named_in_the_status(
    models: Models, start: Start
) -> None:
    foreign = {"name": names.engine_service("smol"), "namespace": models.namespace}
    spec = {"ports": [{"port": 5432}]}
    models.apply({"apiVersion": "v1", "kind": "Service", "metadata": foreign, "spec": spec})
    before = models.get("service", foreign["name"])
    start()
    models.create()
    models.read_shape()
    models.wait_for(
        "the refusal", lambda: "belongs to something else" in json.dumps(models.status())
    )
    assert models.get("service", foreign["name"]) == before


def test_a_quota_is_told_in_its_own_words_and_what_it_forbade_is_made_once_there_is_room(
    models: Models, start: Start
) -> None:
    quota = {"name": "full", "namespace": models.namespace}
    hard = {"count/deployments.apps": "0"}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": quota}
    models.apply(body | {"spec": {"hard": hard}})
    models.wait_for("the quota", lambda: models.get("quota", "full").get("status", {}).get("hard"))
    start()
    models.create()
    models.read_shape()
    models.wait_for("the refusal", lambda: "exceeded quota: full" in json.dumps(models.status()))
    assert "Service" in {kind for kind, _ in models.children()}
    models.delete("quota", "full")
    models.edit(names.PLURAL, "smol", {"metadata": {"labels": {"look": "again"}}})
    models.wait_for_children(*ALL)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 0.4])
def test_an_operator_that_is_killed_in_the_middle_goes_on_where_it_was(
    models: Models, start: Start, seconds: float
) -> None:
    operator = start()
    models.create()
    models.read_shape()
    time.sleep(seconds)
    operator.kill()
    start()
    models.wait_for_children(*ALL)
    settle(models)
    assert len(models.children()) == len(ALL)
    assert len({kind for kind, _ in models.children()}) == len(ALL)


def test_a_standby_takes_over_at_once_when_the_leader_is_told_to_end(
    models: Models, start: Start
) -> None:
    leader, standby = start(leader_election=True), start(leader_election=True)
    assert (leader.metric("berth_operator_leading"), standby.metric("berth_operator_leading")) == (
        1,
        0,
    )
    assert leader.terminate() == 0
    models.wait_for("the standby", lambda: standby.metric("berth_operator_leading") == 1, seconds=5)
    models.create()
    models.wait_for_children("Job")


def test_a_standby_takes_over_from_a_leader_that_was_killed(models: Models, start: Start) -> None:
    leader, standby = start(leader_election=True), start(leader_election=True)
    leader.kill()
    models.create()
    models.wait_for_children("Job")
    assert standby.metric("berth_operator_leading") == 1


def lacking(models: Models, name: str, mebibytes: int) -> Failure:
    """The CPU engine had so much less for its KV cache than it was told to take."""
    planned = models.status(name)["plan"]["kvCacheBytes"]
    shortage = Shortage(
        step=Short.KV_CACHE, needed_bytes=planned, available_bytes=planned - mebibytes * 2**20
    )
    return Failure(reason="KVCacheTooSmall", message="words", fix="fix", shortage=shortage)


def planned_again(models: Models, name: str) -> bool:
    return "learnedFrom" in models.status(name).get("plan", {})


def test_two_models_that_fail_for_memory_at_once_are_planned_once_more_and_remembered(
    models: Models, start: Start, node: None
) -> None:
    operator, both = start(), ("smol", "smaller")
    models.create("smol")
    models.create("smaller", runtime={"maxNumSeqs": 8})
    for name in both:
        models.read_shape(name)
        models.wait_for_children(*ALL, name=name)
    before = {name: models.status(name)["plan"]["kvCacheBytes"] for name in both}
    for name, mebibytes in zip(both, (1024, 512), strict=True):
        models.fail_engine(lacking(models, name, mebibytes), name)
    for name in both:
        models.wait_for("another plan", lambda name=name: planned_again(models, name))
    after = {name: models.status(name)["plan"]["kvCacheBytes"] for name in both}
    assert 1024 <= (before["smol"] - after["smol"]) / 2**20 < 1064
    assert 512 <= (before["smaller"] - after["smaller"]) / 2**20 < 552
    records = [json.loads(text) for text in models.get("configmap", LEARNED)["data"].values()]
    assert [one["reason"] for one in records] == ["KVCacheTooSmall"] * 2
    assert {one["sequences"] for one in records} == {64, 8}
    settle(models)
    assert len([name for kind, name in models.children() if kind == "Deployment"]) == 1
    written, writes = models.written(), operator.metric("berth_operator_writes_total")
    memory = models.get("configmap", LEARNED)
    time.sleep(REST_SECONDS)
    assert operator.metric("berth_operator_writes_total") == writes
    assert models.written() == written
    assert models.get("configmap", LEARNED) == memory


def test_a_second_failure_for_memory_is_the_reason_and_no_third_plan(
    models: Models, served: OperatorProcess, start: Start, node: None
) -> None:
    models.fail_engine(lacking(models, "smol", 512))
    models.wait_for("another plan", lambda: planned_again(models, "smol"))
    second = models.status()["updateRevision"]
    models.fail_engine(lacking(models, "smol", 512))
    models.wait_for("the reason", lambda: models.status().get("reason") == "KVCacheTooSmall")
    served.kill()
    start()  # nothing is remembered but in the cluster
    time.sleep(REST_SECONDS)
    assert models.status()["updateRevision"] == second
    assert "Fix: fix" in models.status()["message"]


def test_the_next_deployment_of_a_model_is_planned_with_what_was_learned(
    models: Models, served: OperatorProcess, node: None
) -> None:
    models.fail_engine(lacking(models, "smol", 512))
    models.wait_for("another plan", lambda: planned_again(models, "smol"))
    models.create("again")
    models.read_shape("again")
    models.wait_for_children(*ALL, name="again")
    first, following = models.status("smol")["plan"], models.status("again")["plan"]
    assert following["kvCacheBytes"] == first["kvCacheBytes"]
    assert following["learnedFrom"].startswith("KVCacheTooSmall on ")


def test_a_memory_that_was_edited_by_hand_stops_nothing(models: Models, start: Start) -> None:
    broken = {"name": LEARNED, "namespace": models.namespace}
    data = {"a-note": "x", "k": "{", "l": "[]"}
    models.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": broken, "data": data})
    operator = start()
    models.create()
    models.read_shape()
    models.wait_for_children(*ALL)
    assert "is ignored" in operator.log.read_text()
