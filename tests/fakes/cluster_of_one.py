"""A cluster in a dict: applies what was decided, so that a test can ask for the next decision."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import builders
from fakes.cluster import merge_patched

from berth_api.adapters import AdapterReport
from berth_api.server import Phase, PodStatus
from berth_operator.core.decide import decide
from berth_operator.core.observed import Children, Load, Observed, Pod
from berth_operator.core.outcome import Deletion, Outcome, Patch
from berth_operator.core.planner import learned
from berth_operator.core.planner.context import Context
from berth_operator.core.planner.learned import Record

_KINDS = {
    "ControllerRevision": "revisions",
    "Deployment": "deployments",
    "Service": "services",
    "PodDisruptionBudget": "budgets",
    "Job": "jobs",
}


@dataclass
class ClusterOfOne:
    """One ModelDeployment and its children; time stands still unless it is moved."""

    cr: dict[str, Any] = field(default_factory=builders.model_deployment)
    context: Context = field(default_factory=builders.context)
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    seconds: float = 0
    learned: dict[str, Record] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)

    def observe(self) -> Observed:
        children = {
            attribute: tuple(o for (kind, _), o in self.objects.items() if kind == name)
            for name, attribute in _KINDS.items()
        }
        now = builders.NOW + timedelta(seconds=self.seconds)
        return builders.observed(
            self.cr,
            children=Children(**children),
            pods=self.pods,
            now=now,
            learned=self.learned,
            **self.known,
        )

    def step(self) -> Outcome:
        """Decides once and does it."""
        outcome = decide(self.observe(), self.context)
        self._keep(outcome.learn)
        self._patch(outcome.patch)
        for wanted in outcome.apply:
            self._apply(wanted)
        for gone in outcome.delete:
            self._delete(gone)
        if outcome.status is not None:
            self.cr = self.cr | {"status": outcome.status}
        return outcome

    def _delete(self, gone: Deletion) -> None:
        if gone.kind == "Pod":
            self.pods = tuple(pod for pod in self.pods if _uid(pod.object) != gone.uid)
        else:
            self._collect(self.objects.pop((gone.kind, gone.name)))

    def _collect(self, gone: dict[str, Any]) -> None:
        """The garbage collector: a Deployment's pods go with it."""
        if gone["kind"] == "Deployment":
            left = (pod for pod in self.pods if _revision(pod.object) != _revision(gone))
            self.pods = tuple(left)

    def _patch(self, patches: tuple[Patch, ...]) -> None:
        changes = {patch.uid: patch.changes for patch in patches}
        self.pods = tuple(
            replace(pod, object=merge_patched(pod.object, changes.get(_uid(pod.object), {})))
            for pod in self.pods
        )
        for key, obj in self.objects.items():
            self.objects[key] = merge_patched(obj, changes.get(_uid(obj), {}))

    def drain(self) -> Outcome:
        """Nobody has anything in flight, and time passes until nothing more is drained."""
        self.known["load"] = Load(complete=True)
        for _ in range(6):
            idle = PodStatus(phase=Phase.SERVING)
            self.pods = tuple(replace(pod, report=pod.report or idle) for pod in self.pods)
            self.seconds += 1
            self.step()
        return self.settle()

    def _keep(self, new: tuple[Record, ...]) -> None:
        """As the ConfigMap does: through JSON."""
        before = {key: learned.encoded(one) for key, one in self.learned.items()}
        data = {**before, **learned.changes(self.learned, new)}
        kept = {key: text for key, text in data.items() if text is not None}
        self.learned, broken = learned.parse(kept)
        assert not broken

    def settle(self, limit: int = 10) -> Outcome:
        """Steps until nothing changes; AssertionError if it never comes to rest."""
        for _ in range(limit):
            before = (dict(self.objects), self.cr.get("status"))
            outcome = self.step()
            if before == (self.objects, self.cr.get("status")):
                return outcome
        raise AssertionError("never at rest")

    def change(self, **spec: Any) -> None:
        metadata = self.cr["metadata"]
        self.cr = self.cr | {
            "spec": self.cr["spec"] | spec,
            "metadata": metadata | {"generation": metadata["generation"] + 1},
        }

    def kind(self, name: str) -> list[dict[str, Any]]:
        return [o for (kind, _), o in self.objects.items() if kind == name]

    def read_shape(self, report: Any = builders.SMOLLM2_REPORT) -> None:
        """The latest shape Job ends with this answer."""
        job = self.kind("Job")[-1]
        at = builders.NOW + timedelta(seconds=self.seconds)
        others = tuple(p for p in self.pods if p.object["metadata"]["labels"]["berth.dev/revision"])
        self.pods = (*others, builders.shape_pod(job, report, at))

    def read_adapters(self, *reports: AdapterReport) -> None:
        """The latest Job, which reads adapters, ends with what is known of them."""
        job = self.kind("Job")[-1]
        at = builders.NOW + timedelta(seconds=self.seconds)
        self.pods = (*self.pods, builders.adapters_pod(job, reports, at))

    def serve(self, revision: str | None = None, **pod: Any) -> None:
        """Every wanted pod of the revision is ready (or is as the keywords say)."""
        name = revision or self.cr["status"]["updateRevision"]
        fields = {"ready": True} | pod
        found = Pod(builders.engine_pod(name, **fields), fields.pop("report", None))
        others = tuple(
            p
            for p in self.pods
            if p.object["metadata"]["labels"]["berth.dev/revision"] not in ("", name)
        )
        self.pods = (*others, found)

    def _apply(self, wanted: dict[str, Any]) -> None:
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        if kind == "Secret":
            self.secrets[name] = wanted
            return
        uid = f"uid-{kind}-{name}"
        self.objects[kind, name] = wanted | {"metadata": wanted["metadata"] | {"uid": uid}}


def _revision(obj: Any) -> str:
    found: str = obj["metadata"]["labels"]["berth.dev/revision"]
    return found


def _uid(obj: Any) -> str:
    found: str = obj["metadata"]["uid"]
    return found


def planned(**known: Any) -> ClusterOfOne:
    """A cluster whose model's shape has been read and whose Deployment exists."""
    cluster = ClusterOfOne(**known)
    cluster.step()
    cluster.read_shape()
    cluster.step()
    cluster.pods = ()
    return cluster


def serving(**known: Any) -> ClusterOfOne:
    cluster = planned(**known)
    cluster.serve()
    cluster.settle()
    return cluster
