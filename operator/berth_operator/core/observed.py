"""What the operator knows of one ModelDeployment at one moment: the only input of `decide`.

Built by `cluster.observe` from caches and a few live reads. Kubernetes objects stay plain JSON
here (a newer cluster's fields must survive); each builder and check reads the few it needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from berth_api import names
from berth_api.adapters import AdapterReport
from berth_api.quantity import parse_duration
from berth_api.server import PodStatus
from berth_api.shape import ShapeReport
from berth_api.spec import DEFAULT_KEEP_ALIVE
from berth_operator.core.planner.learned import Record
from berth_operator.core.scaling.replicas import Memory

Object = Mapping[str, Any]
"""A Kubernetes object as JSON, without managedFields."""


@dataclass(frozen=True)
class Pod:
    """One pod of the model, with what it says of itself."""

    object: Object
    report: PodStatus | None = None
    """`GET /status` of the wrapper or the fetcher; None while nothing answers."""


@dataclass(frozen=True)
class Node:
    """What the planner and the shape Job need of a node."""

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, str]
    taints: tuple[Object, ...] = ()
    conditions: tuple[Object, ...] = ()  # those that tell a fault (core.node_health)
    kubelet_version: str = ""
    runtime_version: str = ""
    unschedulable: bool = False
    reserved: Mapping[str, Decimal] = field(default_factory=dict)
    """What the pods of all models on it request."""


@dataclass(frozen=True)
class Load:
    """One model's requests, as gateways and engines tell; `at` is monotonic seconds."""

    at: float = 0.0
    held: int = 0
    oldest_seconds: float = 0.0  # of the held
    in_flight: Mapping[str, int] = field(
        default_factory=dict
    )  # as /demand has it, over all gateways
    arrivals: int = 0  # counted, ever growing
    answered: int = 0  # counted, ever growing
    gateways: int = 0  # that the numbers are of
    complete: bool = False  # every gateway that serves is among them, and speaks
    overdue: bool = False  # not complete, for longer than a start or a reconnection takes
    keep_alive_seconds: float | None = None  # as the last request asked; -1: for ever
    idle_seconds: float | None = None  # since a request last came or ended; None: not known of any
    asked_seconds: float | None = None  # since one last came; None: not known of any
    epoch: int = 0  # another one: counts from a gateway that was not heard have come in at once
    engines: Mapping[str, int] = field(default_factory=dict)
    """By pod uid, what the engine itself runs and keeps waiting, where it was asked lately."""

    def keep_alive(self, own: str | None) -> float | None:
        """Seconds that the model is to stay without requests; None: for ever.

        As the last request asked, else as `own`, the spec, says.
        """
        if self.keep_alive_seconds is not None:
            return None if self.keep_alive_seconds < 0 else self.keep_alive_seconds
        return parse_duration(own or DEFAULT_KEEP_ALIVE)

    def at_pod(self, uid: str) -> int:
        """The larger: not every request comes through a gateway, and engines tell later."""
        return max(self.in_flight.get(uid, 0), self.engines.get(uid, 0))


@dataclass(frozen=True)
class Remembered:
    """What one decision hands to the next. A restart loses it, and nothing else may."""

    replicas: Memory = field(default_factory=Memory)
    asked: int | None = None  # replicas that were decided last
    told_at: float | None = None  # when the status last got new numbers; Load.at
    status_at: datetime | None = None  # when the status was last told
    key: str | None = None  # the engine key whose Secret was asked for last, by its hash
    start: tuple[str, float] | None = None  # a revision and the seconds that its pod took to serve


@dataclass(frozen=True)
class Children:
    """The objects that this ModelDeployment owns, by kind; order means nothing."""

    revisions: tuple[Object, ...] = ()  # ControllerRevision
    deployments: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    budgets: tuple[Object, ...] = ()  # PodDisruptionBudget
    jobs: tuple[Object, ...] = ()

    def all(self) -> tuple[Object, ...]:
        return self.revisions + self.deployments + self.services + self.budgets + self.jobs


@dataclass(frozen=True)
class Refusal:
    """The API server's answer to the last attempt to apply one object, if it was refused."""

    kind: str
    name: str
    message: str


@dataclass(frozen=True)
class Observed:
    cr: Object
    now: datetime
    children: Children = field(default_factory=Children)
    pods: tuple[Pod, ...] = ()  # of every role: engines and the shape Job
    nodes: tuple[Node, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    shapes: Mapping[str, ShapeReport] = field(default_factory=dict)
    adapters: Mapping[str, AdapterReport] = field(default_factory=dict)  # by source, as shapes
    """By source: provided by the administrator's settings, or by `berth plan`."""
    learned: Mapping[str, Record] = field(default_factory=dict)  # of all models, by record key
    load: Load = field(default_factory=Load)
    remembered: Remembered = field(default_factory=Remembered)
    pool: Object | None = None  # the ModelPool that spec.pool names
    warnings: tuple[Object, ...] = ()  # Warning Events of children (ReplicaSets, Pods), newest last

    @property
    def engines(self) -> tuple[Pod, ...]:
        """Pods that run an engine, or will."""
        return tuple(
            pod
            for pod in self.pods
            if pod.object["metadata"]["labels"].get(names.LABEL_ROLE) == names.ROLE_ENGINE
        )

    def pods_of(self, revision: str) -> tuple[Pod, ...]:
        """By the revision's name."""
        return tuple(pod for pod in self.pods if revision_of(pod) == revision)


def revision_of(pod: Pod) -> str | None:
    """The name of the one that it runs; None for a pod of another role."""
    found: str | None = pod.object["metadata"]["labels"].get(names.LABEL_REVISION)
    return found
