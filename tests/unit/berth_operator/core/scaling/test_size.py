"""A model whose size follows its queue: what is decided, and what of it is told."""

import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import builders
import pytest
from fakes.cluster_of_one import ClusterOfOne

from berth_api import names
from berth_operator.core.kubernetes import is_routed
from berth_operator.core.observed import Load, Node, Pod, Remembered
from berth_operator.core.outcome import Outcome
from berth_operator.core.scaling import replicas
from berth_operator.core.scaling.size import TOLD_SECONDS

TARGET = 4


@dataclass
class Model:
    """One that has been planned; `load` is what gateways and engines tell of it."""

    spec: dict[str, Any] = field(default_factory=dict)
    serving: int = 0
    complete: bool = True
    told: dict[str, Any] = field(default_factory=dict)
    remembered: Remembered = field(default_factory=Remembered)
    nodes: tuple[Node, ...] = ()
    left: tuple[Pod, ...] = ()  # that have ended
    events: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        scaling = {"mode": "Auto", "maxReplicas": 4, "targetQueueDepth": TARGET}
        scaling |= self.spec.pop("scaling", {})
        self.cluster = ClusterOfOne(builders.model_deployment(scaling=scaling, **self.spec))
        self.cluster.known["nodes"] = self.nodes
        self.look()
        self.cluster.read_shape()
        self.look()

    def look(self, seconds: float = 0, **load: Any) -> Outcome:
        """Once, `seconds` later; `load` stays until it is told anew."""
        self.cluster.seconds += seconds
        self.told |= load
        pods = self._pods()
        engines = {pod.object["metadata"]["uid"]: 0 for pod in pods} | self.told.get("engines", {})
        given = {"gateways": 1, "complete": self.complete} | self.told | {"engines": engines}
        known = {"load": Load(at=self.cluster.seconds, **given), "remembered": self.remembered}
        self.cluster.known |= known
        self.cluster.pods = (*pods, *self.left, *self._shape_pods())
        outcome = self.cluster.step()
        self.remembered = outcome.remember
        self.events += [(one.reason, one.message) for one in outcome.events]
        return outcome

    def for_seconds(self, seconds: int, **load: Any) -> None:
        """Looks once a second, replicas serving as soon as they are asked for."""
        for _ in range(seconds):
            self.look(1, **load)
            self.serving = self.asked

    def _pods(self) -> tuple[Pod, ...]:
        """What was marked on one stays."""
        revision = self.cluster.cr.get("status", {}).get("updateRevision", "")
        wanted = [
            Pod(builders.engine_pod(revision, name=f"p{number}", ready=True))
            for number in range(self.serving)
        ]
        there = {pod.object["metadata"]["uid"]: pod for pod in self.cluster.pods}
        return tuple(there.get(pod.object["metadata"]["uid"], pod) for pod in wanted)

    def _shape_pods(self) -> tuple[Pod, ...]:
        found = self.cluster.pods
        return tuple(p for p in found if not p.object["metadata"]["labels"][names.LABEL_REVISION])

    @property
    def asked(self) -> int:
        """Of the Deployment; what is to go is drained first, and then counts no more."""
        (deployment,) = self.cluster.kind("Deployment")
        asked: int = deployment["spec"]["replicas"]
        draining = [pod for pod in self.cluster.pods if not is_routed(pod.object)]
        return asked - len(draining)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.cr["status"]
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        found = next(one for one in self.status["conditions"] if one["type"] == kind)
        return found["status"], found["reason"]


def scaled(model: Model) -> list[str]:
    return [reason for reason, _ in model.events if reason.startswith("Scaled")]


def test_nothing_starts_until_the_first_request() -> None:
    model = Model()
    assert model.asked == 0
    assert (model.status["phase"], model.condition("Ready")) == ("Idle", ("True", "ScaledToZero"))
    assert model.status["scaling"]["desiredReplicas"] == 0


def test_a_model_with_a_minimum_begins_with_it_and_no_event_tells_of_it() -> None:
    model = Model({"scaling": {"minReplicas": 2}})
    assert model.asked == 2
    assert scaled(model) == []


def test_the_first_request_wakes_it_and_the_reason_has_the_numbers() -> None:
    model = Model()
    model.look(1, held=1)
    assert model.asked == 1
    assert model.condition("Ready") == ("False", "Activating")
    (message,) = [words for reason, words in model.events if reason == "ScaledFromZero"]
    assert message.startswith("from 0 to 1 replicas: ")
    assert "4 per replica" in message
    assert model.status["scaling"]["lastScaleTime"] == "2026-01-02T03:04:06Z"


def test_a_backlog_is_jumped_at_in_one_step() -> None:
    model = Model()
    model.look(1, held=11)
    assert model.asked >= 3


def test_more_than_max_replicas_take_is_limited_and_said_to_be() -> None:
    model = Model()
    model.for_seconds(10, held=1000)
    assert model.asked == 4
    assert model.condition("ScalingActive") == ("True", "ScaleLimited")


def test_requests_that_came_by_no_gateway_count_as_the_engine_tells() -> None:
    model = Model()
    model.for_seconds(2, held=1)
    model.look(1, held=0, in_flight={"uid-p0": 1}, engines={"uid-p0": 9})
    assert model.asked >= 3


def test_requests_are_not_counted_twice_where_gateway_and_engine_both_tell_them() -> None:
    model = Model()
    model.for_seconds(2, held=1)
    model.look(1, held=0, in_flight={"uid-p0": 4}, engines={"uid-p0": 4})
    other = Model()
    other.for_seconds(2, held=1)
    other.look(1, held=0, in_flight={"uid-p0": 4})
    assert model.status["scaling"] == other.status["scaling"]


def test_after_keep_alive_without_a_request_the_last_replica_goes() -> None:
    model = Model({"keepAlive": "30s", "scaling": {"scaleDownDelaySeconds": 5}})
    model.for_seconds(3, held=1)
    model.for_seconds(20, held=0)
    assert model.asked == 1
    model.for_seconds(40)
    model.look()
    assert model.asked == 0
    assert scaled(model) == ["ScaledFromZero", "ScaledToZero"]
    assert (model.status["phase"], model.condition("Ready")) == ("Idle", ("True", "ScaledToZero"))


@pytest.mark.parametrize(("given", "kept"), [({}, 1.0), ({"headroom": 0}, 0.0)])
def test_the_law_keeps_the_headroom_that_the_user_wants(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], kept: float
) -> None:
    laws: list[replicas.Law] = []
    decide = replicas.decide
    monkeypatch.setattr(
        replicas, "decide", lambda law, *rest: laws.append(law) or decide(law, *rest)
    )
    Model({"scaling": given}).look(1)
    assert {law.headroom for law in laws} == {kept}


def test_a_negative_keep_alive_is_for_ever() -> None:
    model = Model({"keepAlive": "-1"})
    model.for_seconds(3, held=1)
    model.for_seconds(400, held=0)
    assert model.asked == 1


def test_a_request_says_how_long_it_stays() -> None:
    model = Model({"keepAlive": "1h", "scaling": {"scaleDownDelaySeconds": 5}})
    model.for_seconds(3, held=1)
    model.for_seconds(60, held=0, keep_alive_seconds=10.0)
    model.look(keep_alive_seconds=10.0)
    assert model.asked == 0


def test_a_request_has_it_stay_for_ever() -> None:
    model = Model({"keepAlive": "30s"})
    model.for_seconds(3, held=1)
    model.for_seconds(400, held=0, keep_alive_seconds=-1.0)
    assert model.asked == 1


def test_an_engine_that_works_for_someone_keeps_its_replica() -> None:
    model = Model({"keepAlive": "10s", "scaling": {"scaleDownDelaySeconds": 5}})
    model.for_seconds(3, held=1)
    model.for_seconds(60, held=0, engines={"uid-p0": 1})
    assert model.asked == 1


UNKNOWN = {
    "no gateway is heard": {"complete": False, "gateways": 0},
    "a gateway is silent": {"complete": False, "gateways": 1},
}


@pytest.mark.parametrize("load", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_nothing_is_taken_away_on_half_the_truth(load: dict[str, Any]) -> None:
    model = Model({"keepAlive": "5s", "scaling": {"scaleDownDelaySeconds": 5}})
    model.for_seconds(10, held=11)
    before = model.asked
    model.for_seconds(200, held=0, **load)
    assert model.asked == before >= 3


def test_half_the_truth_is_enough_to_add() -> None:
    model = Model(complete=False)
    model.look(1, held=6)
    assert model.asked >= 1


def test_nothing_is_taken_away_from_engines_that_have_not_been_asked() -> None:
    model = Model({"keepAlive": "5s", "scaling": {"scaleDownDelaySeconds": 5}})
    model.for_seconds(3, held=1)
    model.serving, unasked = 0, Pod(builders.engine_pod("r", name="other", ready=True))
    model.cluster.known["load"] = Load(at=1000, gateways=1, complete=True)
    model.cluster.pods = (unasked,)
    outcome = model.cluster.step()
    assert model.asked == 1
    assert outcome.attention is not None
    assert outcome.attention.engines


def test_engines_are_asked_only_while_there_is_something_to_take_away() -> None:
    model = Model({"scaling": {"minReplicas": 1}})
    outcome = model.look(1)
    assert outcome.attention is not None
    assert not outcome.attention.engines
    outcome = model.look(1, held=5)
    assert outcome.attention is not None
    assert outcome.attention.engines


def test_a_restarted_operator_goes_on_with_the_size_that_it_told() -> None:
    model = Model()
    model.for_seconds(3, held=11)
    before = model.asked
    model.remembered = Remembered()
    model.look(1, held=0)
    assert model.asked == before >= 3
    assert scaled(model) == ["ScaledFromZero"]


def restarted(model: Model, told: int) -> None:
    """An operator that knows what is written, of whose size the status says `told`."""
    model.remembered = Remembered()
    model.status["scaling"] |= {"desiredReplicas": told}
    model.look(1, complete=False)


def test_replicas_whose_operator_ended_before_it_told_of_them_stay() -> None:
    model = Model()
    model.for_seconds(3, held=11)
    before = model.asked
    restarted(model, told=0)
    assert model.asked == before >= 3
    assert model.status["scaling"]["desiredReplicas"] == before


def test_a_restarted_operator_does_not_take_back_what_it_drained() -> None:
    model = Model({"scaling": {"scaleDownDelaySeconds": 60}})
    model.for_seconds(3, held=11)
    busy = {pod.object["metadata"]["uid"]: 1 for pod in model.cluster.pods}
    for _ in range(400):
        model.look(1, held=0, engines=busy)
        if not all(is_routed(pod.object) for pod in model.cluster.pods):
            break
    (deployment,) = model.cluster.kind("Deployment")
    assert model.asked < deployment["spec"]["replicas"]
    told = model.status["scaling"]["desiredReplicas"]
    assert told == model.asked
    restarted(model, told)
    assert model.status["scaling"]["desiredReplicas"] == told


def test_what_has_drained_and_gone_is_not_taken_off_what_was_raised_after_it() -> None:
    model = Model()
    model.for_seconds(3, held=11)
    gone = builders.engine_pod(model.status["updateRevision"], name="gone", ready=False)
    gone["metadata"]["annotations"] = {names.ANNOTATION_DRAINING: "2026-01-02T03:04:05Z"}
    gone["status"]["phase"] = "Failed"
    model.left = (Pod(gone),)
    before = model.asked
    restarted(model, told=1)
    assert model.status["scaling"]["desiredReplicas"] == before >= 3


def test_a_model_that_a_user_has_sized_keeps_its_size_when_berth_takes_over() -> None:
    model = Model({"scaling": {"mode": "Fixed"}, "replicas": 3})
    model.serving = 3
    assert model.asked == 3
    model.cluster.change(scaling={"mode": "Auto", "maxReplicas": 4})
    model.look(1)
    assert model.asked == 3
    assert scaled(model) == []


@pytest.mark.parametrize("mode", ["Fixed", "External"])
def test_whoever_writes_spec_replicas_decides_unless_berth_does(mode: str) -> None:
    model = Model({"scaling": {"mode": mode}, "replicas": 2})
    outcome = model.look(1, held=100)
    assert model.asked == 2
    assert "scaling" not in model.status
    assert outcome.attention is not None
    assert outcome.attention.capacity is None
    assert "ScalingActive" not in {one["type"] for one in model.status["conditions"]}


def test_a_fixed_size_of_zero_does_not_wait_for_requests() -> None:
    model = Model({"scaling": {"mode": "Fixed"}, "replicas": 0})
    assert (model.status["phase"], model.condition("Ready")) == ("Idle", ("False", "ScaledToZero"))


def test_who_waits_is_told_once_in_five_seconds_at_most() -> None:
    model = Model({"scaling": {"mode": "Fixed"}, "replicas": 0})
    told = []
    for second in range(1, 16):
        model.look(1, held=second, oldest_seconds=second)
        told.append(model.status["queue"]["depth"])
    assert len(set(told)) <= 4
    outcome = model.look(5, held=0, oldest_seconds=0)
    assert "queue" not in model.status
    assert outcome.look_again_seconds is None


def test_numbers_that_change_with_every_look_seldom_change_the_status() -> None:
    model = Model({"scaling": {"minReplicas": 1, "maxReplicas": 1}})
    model.for_seconds(5)
    told = []
    for second in range(30):
        model.look(1, in_flight={"uid-p0": 1 + second % 3}, arrivals=second, answered=second)
        told.append(json.dumps(model.status["scaling"]))
    changes = sum(before != after for before, after in pairwise(told))
    assert changes <= 30 / TOLD_SECONDS


@pytest.mark.parametrize("held", [0, 3])
def test_a_second_look_at_the_same_moment_changes_nothing(held: int) -> None:
    model = Model()
    model.for_seconds(10, held=held)
    before = model.status
    model.look()
    assert model.status == before


def test_a_new_leader_lets_the_condition_stand_until_it_knows_better() -> None:
    model = Model()
    model.for_seconds(10)
    before = model.condition("ScalingActive")
    model.remembered = Remembered()
    model.look(1, complete=False, gateways=0)
    assert model.condition("ScalingActive") == before
    model.look(11, overdue=True)
    assert model.condition("ScalingActive") == ("False", "MetricsUnavailable")
    conditions = model.status["conditions"]
    (told,) = (one["message"] for one in conditions if one["type"] == "ScalingActive")
    assert told == "no gateway tells its demand; until then none goes, and only the first is added"


def test_a_new_model_says_that_no_gateway_was_heard() -> None:
    model = Model(complete=False)
    assert model.condition("ScalingActive") == ("Unknown", "Waiting")


def test_a_model_that_cannot_start_gives_its_place_back() -> None:
    model = Model({"keepAlive": "5s", "scaling": {"scaleDownDelaySeconds": 5}})
    model.look(1, held=1)
    revision = model.status["updateRevision"]
    broken = Pod(builders.engine_pod(revision, containers=[builders.ended("engine", 1, "x")]))
    for second in range(60):
        load = Load(at=100 + second, gateways=1, complete=True)
        model.cluster.known |= {"load": load, "remembered": model.remembered}
        model.cluster.pods = (broken,)
        model.remembered = model.cluster.step().remember
    assert model.asked == 0


def test_a_model_whose_further_pods_are_refused_gets_smaller_and_sleeps() -> None:
    model = Model({"keepAlive": "120s", "scaling": {"scaleDownDelaySeconds": 5}})
    model.look(1, held=11)
    assert model.asked >= 3
    model.serving = 1
    for _ in range(90):
        refuse_pods(model)
        model.look(1, held=0)
        if model.asked == 1:
            break
    assert model.asked == 1
    for _ in range(90):
        refuse_pods(model)
        model.look(1)
    assert model.asked == 0


def refuse_pods(model: Model) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpu"}
    (key,) = (key for key in model.cluster.objects if key[0] == "Deployment")
    refused = {"status": {"conditions": [condition]}}
    model.cluster.objects[key] = dict(model.cluster.objects[key]) | refused


@pytest.mark.parametrize(("seconds", "starting"), [(60, 1), (3600, 0)])
def test_a_pod_that_starts_for_far_too_long_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, seconds: int, starting: int
) -> None:
    model = Model()
    model.look(1, held=1)
    pod = Pod(made_now(model, builders.engine_pod(model.status["updateRevision"])))
    model.cluster.seconds += seconds
    assert signals(monkeypatch, model, pod)[0].starting == starting


def made_now(model: Model, pod: dict[str, Any]) -> dict[str, Any]:
    made = model.cluster.observe().now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return pod | {"metadata": pod["metadata"] | {"creationTimestamp": made}}


def signals(
    monkeypatch: pytest.MonkeyPatch, model: Model, *pods: Pod, **load: Any
) -> list[replicas.Signal]:
    """What the law is given for these pods."""
    seen: list[replicas.Signal] = []
    decide = replicas.decide
    monkeypatch.setattr(
        replicas, "decide", lambda law, one, *rest: seen.append(one) or decide(law, one, *rest)
    )
    given = Load(at=model.cluster.seconds, gateways=1, complete=True, **load)
    model.cluster.known |= {"load": given, "remembered": model.remembered}
    model.cluster.pods = pods
    model.cluster.step()
    return seen


def test_an_engine_that_has_not_told_yet_is_no_missing_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model()
    model.look(1, held=1)
    pod = Pod(builders.engine_pod(model.status["updateRevision"], ready=True))
    (seen,) = signals(monkeypatch, model, pod, epoch=7)
    assert (seen.complete, seen.engines_known, seen.epoch) == (True, False, 7)


def test_one_silent_engine_does_not_stop_a_crowd_from_getting_replicas() -> None:
    model = Model()
    model.look(1, held=1)
    pod = Pod(builders.engine_pod(model.status["updateRevision"], ready=True))
    for second in range(5):
        load = Load(at=100 + second, gateways=1, complete=True, held=500)
        model.cluster.known |= {"load": load, "remembered": model.remembered}
        model.cluster.pods = (pod,)
        model.remembered = model.cluster.step().remember
    assert model.asked == 4


def test_a_sleeping_model_is_woken_though_no_node_has_room() -> None:
    full = Node(name="n", labels={}, allocatable={"cpu": "100m", "memory": "16Gi"})
    model = Model(nodes=(full,))
    model.look(1, held=1)
    assert model.asked == 1
    assert model.condition("Ready")[0] == "False"


def test_no_more_is_asked_for_than_the_nodes_hold() -> None:
    nodes = tuple(
        Node(name=f"n{number}", labels={}, allocatable={"cpu": "1500m", "memory": "16Gi"})
        for number in range(2)
    )
    model = Model(nodes=nodes)
    model.look(1, held=100)
    assert model.asked == 2
    assert model.condition("ScalingActive") == ("True", "ScaleLimited")


def test_a_start_that_was_seen_is_expected_again() -> None:
    model = Model()
    model.look(1, held=1)
    revision = model.status["updateRevision"]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:42Z"}
    pod = builders.engine_pod(revision)
    status = pod["status"] | {"conditions": [ready]}
    model.cluster.pods = (Pod(pod | {"status": status}),)
    assert model.cluster.step().remember.start == (revision, 42.0)


def test_a_restarted_operator_believes_no_start_of_a_week() -> None:
    model = Model()
    model.look(1, held=1)
    revision = model.status["updateRevision"]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-08T00:00:00Z"}
    pod = builders.engine_pod(revision)
    status = pod["status"] | {"conditions": [ready]}
    model.cluster.pods = (Pod(pod | {"status": status}),)
    start = model.cluster.step().remember.start
    assert start is not None
    assert start[1] < 1_000


def test_a_paused_model_stays_as_it_is() -> None:
    model = Model()
    model.cluster.change(paused=True)
    outcome = model.look(1, held=5)
    assert model.asked == 0
    assert outcome.attention is None
