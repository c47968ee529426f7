"""Nodes without a kubelet: a test says what one would, of the node and of the pods on it."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gpu_nodes
from cluster_client import ClusterClient, RefusedError

from berth_api import names
from berth_operator.cluster import kinds

Object = dict[str, Any]

POOL = "berth.test/pool"
# The node controller gives up on a node that has said nothing for 40 s or more.
BEAT_SECONDS = 10.0
# A kubelet takes as long at least, and an operator that stands still for a moment is no finding.
REFUSAL_SECONDS = 0.5
_CARD = "nvidia.com/gpu"
_HOST = {"cpu": "64", "memory": "2Ti"}


@dataclass
class SaidNode:
    """One node of a test's own pool, healthy until the test says otherwise."""

    kubeconfig: Path
    pool: str
    name: str
    cards: int = 0
    host: dict[str, str] = field(default_factory=lambda: dict(_HOST))
    conditions: dict[str, Object] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.cluster = ClusterClient(self.kubeconfig)

    def make(self) -> None:
        labelled = gpu_nodes.h100(self.name, self.cards)
        labels = {**labelled.labels, POOL: self.pool}
        body = replace(labelled, labels=labels, host=self.host).body()
        self.cluster.create(kinds.NODE.path(), body)
        self.say("Ready", "True", reason="KubeletReady")

    def offer(self, cards: int) -> None:
        """As its device plugin has it."""
        amounts = {_CARD: str(cards)}
        self._patch({"capacity": amounts, "allocatable": amounts})

    def say(self, condition: str, status: str, *, reason: str = "Said", message: str = "") -> None:
        """As its kubelet or a health system does."""
        with self._lock:
            told = {"type": condition, "status": status, "reason": reason, "message": message}
            now = timestamp()
            self.conditions[condition] = told | {"lastTransitionTime": now}
        self.beat(self.cluster)

    def beat(self, cluster: ClusterClient) -> None:
        with self._lock:
            now = timestamp()
            told = [one | {"lastHeartbeatTime": now} for one in self.conditions.values()]
            cluster.patch(self._path("status"), {"status": {"conditions": told}})

    def change(self, **spec: Any) -> None:
        self.cluster.patch(self._path(), {"spec": spec})

    def delete(self) -> None:
        with contextlib.suppress(RefusedError):
            ClusterClient(self.kubeconfig).delete(self._path())  # ours may have idled too long

    def _patch(self, status: Object) -> None:
        self.cluster.patch(self._path("status"), {"status": status})

    def _path(self, part: str | None = None) -> str:
        return kinds.NODE.path(None, self.name, part)


@dataclass
class SaidPods:
    """The engine pods of one namespace, as their kubelets would tell of them."""

    kubeconfig: Path
    namespace: str

    def __post_init__(self) -> None:
        self.cluster = ClusterClient(self.kubeconfig)

    def all(self) -> list[Object]:
        label = f"{names.LABEL_ROLE}={names.ROLE_ENGINE}"
        return self.cluster.items(kinds.POD.path(self.namespace), label)

    def on(self, node: str) -> list[Object]:
        """Those that have not ended and do not end."""
        return [
            pod
            for pod in self.all()
            if pod["spec"].get("nodeName") == node
            and "deletionTimestamp" not in pod["metadata"]
            and pod["status"].get("phase") not in ("Failed", "Succeeded")
        ]

    def failed(self) -> list[Object]:
        return [pod for pod in self.all() if pod["status"].get("phase") == "Failed"]

    def end(self, node: str) -> None:
        """Pods there that are to end have ended."""
        for pod in self.all():
            if pod["spec"].get("nodeName") == node and "deletionTimestamp" in pod["metadata"]:
                self.cluster.delete(self._path(pod) + "?gracePeriodSeconds=0")

    def serve(self, pod: Object) -> None:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": timestamp()}
        self.say(pod, {"phase": "Running", "conditions": [ready]})

    def refuse(self, pod: Object) -> None:
        """As a kubelet whose device plugin has no card for it."""
        reason = "UnexpectedAdmissionError"
        message = (
            "Allocate failed due to no healthy devices present; cannot allocate nvidia.com/gpu"
        )
        self.say(pod, {"phase": "Failed", "reason": reason, "message": message})

    def evict(self, pod: Object) -> None:
        message = "The node was low on resource: memory."
        engine = _engine(0, {"terminated": _ended(137)})
        status = {"phase": "Failed", "reason": "Evicted", "message": message}
        self.say(pod, status | {"containerStatuses": [engine]})

    def crash(self, pod: Object, restarts: int) -> None:
        """Its engine has ended so often, and waits to be started again."""
        last = _ended(1) | {"message": "Traceback: no kernel for this card"}
        waits = {"waiting": {"reason": "CrashLoopBackOff"}}
        engine = _engine(restarts, waits) | {"lastState": {"terminated": last}}
        self.say(pod, {"phase": "Running", "containerStatuses": [engine]})

    def say(self, pod: Object, status: Object) -> None:
        """A pod that is gone meanwhile has nobody to tell of it."""
        with contextlib.suppress(RefusedError):
            self.cluster.patch(self._path(pod, "status"), {"status": status})

    def _path(self, pod: Object, part: str | None = None) -> str:
        return kinds.POD.path(self.namespace, pod["metadata"]["name"], part)


@contextmanager
def beating(nodes: list[SaidNode]) -> Iterator[None]:
    """Their kubelets' heartbeats, for as long as it lasts; then the nodes are gone."""
    ended = threading.Event()

    def beat() -> None:
        clients = {one.name: ClusterClient(one.kubeconfig) for one in nodes}
        while not ended.wait(BEAT_SECONDS):
            for one in nodes:
                with contextlib.suppress(RefusedError, OSError, http.client.HTTPException):
                    one.beat(clients.setdefault(one.name, ClusterClient(one.kubeconfig)))

    thread = threading.Thread(target=beat, name="kubelets")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for one in nodes:
            one.delete()


def is_routed(pod: Object) -> bool:
    return names.LABEL_ROUTE in pod["metadata"]["labels"]


def _engine(restarts: int, state: Object) -> Object:
    """The status of its container."""
    image = {"image": "example.test/engine:1", "imageID": ""}
    return image | {"name": "engine", "ready": False, "restartCount": restarts, "state": state}


def _ended(code: int) -> Object:
    return {"exitCode": code, "startedAt": timestamp(), "finishedAt": timestamp()}


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
