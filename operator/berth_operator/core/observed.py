"""What the operator knows of one ModelDeployment at one moment: the only input of `decide`.

Built by `cluster.observe` from caches and a few live reads. Kubernetes objects stay plain JSON
here (a newer cluster's fields must survive); each builder and check reads the few it needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from berth_api.server import PodStatus
from berth_api.shape import ShapeReport
from berth_operator.core.learned import Record

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
    kubelet_version: str = ""
    runtime_version: str = ""
    unschedulable: bool = False


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
    shapes: Mapping[str, ShapeReport] = field(
        default_factory=dict
    )  # by source; `berth plan` provides them
    learned: Mapping[str, Record] = field(default_factory=dict)  # of all models, by record key
    warnings: tuple[Object, ...] = ()  # Warning Events of children (ReplicaSets, Pods), newest last
