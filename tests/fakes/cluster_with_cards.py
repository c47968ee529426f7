"""A cluster with a few accelerators: ReplicaSets, a scheduler and a kubelet that do as they are told.

Small and deterministic: every pod takes one card from its binding until it is gone, nothing
happens but by a call, and time moves only in `wait`. What must never happen is checked where it
would: in `delete`, whoever chose the pod.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, Final

import builders
from fakes.cluster_of_one import ClusterOfOne, planned

from berth_api import names
from berth_api.server import Phase, PodStatus
from berth_api.shape import Failure
from berth_operator.core.kubernetes import (
    is_active,
    is_finished,
    is_ready,
    is_serving,
    is_terminating,
)
from berth_operator.core.observed import Load, Pod
from berth_operator.core.outcome import Outcome
from berth_operator.core.rollout.draining import ANNOTATION_COST

GRACE_SECONDS: Final = 60


@dataclass
class ClusterWithCards:
    cards: int
    one: ClusterOfOne = field(default_factory=planned)
    full: str = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."  # the scheduler's words
    broken: set[int] = field(default_factory=set)  # spec.runtime.maxModelLen that never start
    in_flight: dict[str, int] = field(default_factory=dict)  # by pod uid
    cut: list[str] = field(default_factory=list)  # pods that were ended with requests, too early
    _pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    _serial: Iterator[int] = field(default_factory=count)

    # What the operator does.

    def look(self, *, react: bool = True) -> Outcome:
        """One look of the operator, and what the cluster makes of it at once."""
        self._show()
        outcome = self.one.step()
        for gone in outcome.delete:
            self._pods.pop(gone.uid, None)
        self._take_back()
        if react:
            self.controllers()
        return outcome

    # What the cluster does.

    def controllers(self) -> None:
        self._replica_sets()
        self._scheduler()

    def start(self, limit: int = 100) -> None:
        """The kubelet: pods that have a card become ready, or fail."""
        for pod in list(self._pods.values())[:limit]:
            if not is_active(pod) or "nodeName" not in pod["spec"] or is_ready(pod):
                continue
            if self._is_broken(pod):
                self.crash(pod)
            else:
                _set(pod, "Ready", "True", self._now())

    def finish(self) -> None:
        """Pods that end, and have nothing in flight, are gone."""
        for uid, pod in list(self._pods.items()):
            if is_terminating(pod) and not self.in_flight.get(uid):
                del self._pods[uid]
        self._scheduler()

    def crash(self, pod: dict[str, Any]) -> None:
        """Its engine ends; the kubelet will start it again."""
        _set(pod, "Ready", "False", self._now())
        self.in_flight.pop(pod["metadata"]["uid"], None)
        before = pod["status"]["containerStatuses"]
        failures = 1 + (before[0]["restartCount"] if before else 0)
        cause = Failure(reason="CrashLoop", message="no", fix="mend it").model_dump_json()
        pod["status"]["containerStatuses"] = [builders.ended("engine", 1, cause, restarts=failures)]

    def delete(self, pod: dict[str, Any], *, by_user: bool = False) -> None:
        uid = pod["metadata"]["uid"]
        if not by_user and is_ready(pod) and not self._may_end(pod):
            self.cut.append(pod["metadata"]["name"])
        if "nodeName" not in pod["spec"]:
            del self._pods[uid]
            return
        pod["metadata"]["deletionTimestamp"] = self._now(GRACE_SECONDS)

    def wait(self, seconds: float) -> None:
        """Pods that should have ended by then are killed."""
        self.one.seconds += seconds
        for uid, pod in list(self._pods.items()):
            if pod["metadata"].get("deletionTimestamp", self._now()) < self._now():
                self.in_flight.pop(uid, None)
                del self._pods[uid]
        self._scheduler()

    # What clients and users do.

    def request(self, pod: dict[str, Any]) -> None:
        """A gateway sends one to a pod that takes requests."""
        if is_serving(pod):
            uid = pod["metadata"]["uid"]
            self.in_flight[uid] = self.in_flight.get(uid, 0) + 1

    def answer_all(self) -> None:
        self.in_flight.clear()

    def wants(self, **spec: Any) -> None:
        self.one.change(**spec)

    # What is seen.

    @property
    def pods(self) -> list[dict[str, Any]]:
        return list(self._pods.values())

    @property
    def serving(self) -> list[dict[str, Any]]:
        return [pod for pod in self.pods if is_serving(pod)]

    @property
    def free(self) -> int:
        held = (pod for pod in self.pods if not is_finished(pod))
        return self.cards - sum("nodeName" in pod["spec"] for pod in held)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.one.cr["status"]
        return found

    @property
    def wanted(self) -> int:
        wanted: int = self.one.cr["spec"].get("replicas", 1)
        return wanted

    @property
    def replicas(self) -> dict[str, int]:
        """Of the Deployments, by revision."""
        return {_revision(one): one["spec"]["replicas"] for one in self.one.kind("Deployment")}

    def of(self, revision: str) -> list[dict[str, Any]]:
        return [pod for pod in self.pods if _revision(pod) == revision]

    def _show(self) -> None:
        """To the operator: the pods, each with its answer, and all gateways' counts."""
        self.one.pods = tuple(
            Pod(pod, PodStatus(phase=Phase.SERVING, in_flight=self.in_flight.get(uid, 0)))
            for uid, pod in self._pods.items()
        )
        self.one.known["load"] = Load(in_flight=dict(self.in_flight), complete=True)

    def _take_back(self) -> None:
        for pod in self.one.pods:
            self._pods[pod.object["metadata"]["uid"]] = dict(pod.object)

    def _replica_sets(self) -> None:
        asked = self.replicas
        for revision in {*asked, *(_revision(pod) for pod in self.pods)}:
            active = [pod for pod in self.of(revision) if is_active(pod)]
            missing = asked.get(revision, 0) - len(active)
            for pod in sorted(active, key=_rank)[: max(0, -missing)]:
                self.delete(pod)
            for _ in range(missing):
                self._create(revision)

    def _create(self, revision: str) -> None:
        name = f"smollm2-{revision}-{next(self._serial):03}"
        pod = builders.engine_pod(revision, name=name)
        pod["metadata"]["creationTimestamp"] = self._now()
        pod["metadata"]["annotations"] = {}
        del pod["spec"]["nodeName"]
        self._pods[pod["metadata"]["uid"]] = pod

    def _scheduler(self) -> None:
        for pod in [one for one in self.pods if is_active(one) and "nodeName" not in one["spec"]]:
            if self.free > 0:
                pod["spec"]["nodeName"] = "node-1"
                _set(pod, "PodScheduled", "True", self._now())
            else:
                _set(pod, "PodScheduled", "False", self._now(), "Unschedulable", self.full)

    def _may_end(self, pod: dict[str, Any]) -> bool:
        """Idle and sent nothing new, or drained for as long as was asked."""
        since = pod["metadata"]["annotations"].get(names.ANNOTATION_DRAINING)
        if since is None or is_serving(pod):
            return False
        timeout = self.one.cr["spec"].get("rollout", {}).get("drainTimeoutSeconds", 300)
        drained = self._now(-timeout) >= since
        return drained or not self.in_flight.get(pod["metadata"]["uid"])

    def _is_broken(self, pod: dict[str, Any]) -> bool:
        stored = self.one.kind("ControllerRevision")
        plan = next(one["data"]["plan"] for one in stored if _revision(one) == _revision(pod))
        return plan["maxModelLen"] in self.broken

    def _now(self, later: float = 0) -> str:
        now = builders.NOW + timedelta(seconds=self.one.seconds + later)
        return now.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def serving(cards: int, replicas: int = 1, **spec: Any) -> ClusterWithCards:
    """Its first revision serves, with so many replicas."""
    cr = builders.model_deployment(replicas=replicas, **spec)
    cluster = ClusterWithCards(cards, planned(cr=cr))
    cluster.controllers()
    cluster.start()
    cluster.look()
    return cluster


def _revision(obj: dict[str, Any]) -> str:
    found: str = obj["metadata"]["labels"][names.LABEL_REVISION]
    return found


def _rank(pod: dict[str, Any]) -> tuple[bool, bool, int, Iterable[int]]:
    """As a ReplicaSet chooses whom to delete: unplaced, unready, cheap, new."""
    cost = int(pod["metadata"]["annotations"].get(ANNOTATION_COST, "0"))
    newest = tuple(-ord(letter) for letter in pod["metadata"]["creationTimestamp"])
    return "nodeName" in pod["spec"], is_ready(pod), cost, newest


def _set(
    pod: dict[str, Any], kind: str, truth: str, now: str, reason: str = "", message: str = ""
) -> None:
    """A condition, whose time changes with its truth only."""
    conditions = pod["status"]["conditions"]
    old = next((one for one in conditions if one["type"] == kind), None)
    same = old is not None and old["status"] == truth
    since = old.get("lastTransitionTime", now) if old is not None and same else now
    new = {"type": kind, "status": truth, "lastTransitionTime": since}
    told = new | ({"reason": reason, "message": message} if reason else {})
    pod["status"]["conditions"] = [*(one for one in conditions if one is not old), told]
