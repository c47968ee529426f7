"""What the operator knows of one pool at one moment: the only input of the pool's `decide`.

Built by `cluster.pools.observe` from caches, the pods' own reports and the gateways' demand. All
that must outlive the operator is in the pool's status.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from berth_api import names
from berth_api.pool import PoolStatus
from berth_operator.core.kubernetes import (
    annotation,
    container_statuses,
    is_active,
    is_ready,
    moment,
)
from berth_operator.core.node_health import is_unheard
from berth_operator.core.observed import Load, Node, Object, Pod, Refusal
from berth_operator.core.pools import files, planning
from berth_operator.core.pools.pool import ResolvedPool
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.resolved import Resolved


@dataclass(frozen=True)
class Member:
    """A ModelDeployment that names the pool, with its plans and requests."""

    cr: Object
    resolved: Resolved
    revisions: tuple[PooledRevision, ...]  # of this pool, the newest last
    jobs: tuple[Object, ...] = ()
    load: Load = field(default_factory=Load)

    @property
    def name(self) -> str:
        return self.resolved.name

    @property
    def paused(self) -> bool:
        return self.resolved.spec.paused

    def wanted(self, pool: ResolvedPool, resident: Container[str]) -> PooledRevision | None:
        """What its spec asks for; while that has no plan or no files yet, what it asked before."""
        ready = [one for one in self.revisions if self._has_files(one, resident)]
        now = planning.wanted(ready, self.resolved, pool)
        return now or (ready[-1] if ready else None)

    def _has_files(self, revision: PooledRevision, resident: Container[str]) -> bool:
        """An engine that is somewhere has had them, whatever became of their Job."""
        there = files.are_there(self.jobs, self.resolved, revision)
        return there or revision.id in resident

    @property
    def load_asked(self) -> datetime | None:
        return moment(annotation(self.cr, names.ANNOTATION_LOAD))

    @property
    def unload_asked(self) -> datetime | None:
        return moment(annotation(self.cr, names.ANNOTATION_UNLOAD))


@dataclass(frozen=True)
class PoolObserved:
    cr: Object
    pool: ResolvedPool
    status: PoolStatus
    now: datetime
    members: tuple[Member, ...] = ()
    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] = ()
    revisions: tuple[Object, ...] = ()  # ControllerRevisions of the pool's pod template
    deployments: tuple[Object, ...] = ()
    budgets: tuple[Object, ...] = ()
    slices: tuple[Object, ...] = ()  # EndpointSlices of its models, by the operator
    refusals: tuple[Refusal, ...] = ()  # of the last look, by the API server or by a pod
    complete: bool = False  # every gateway that serves has told its demand

    @cached_property
    def active(self) -> tuple[Pod, ...]:
        """Pods that are neither finished, nor on their way out, nor lost with their node."""
        return tuple(one for one in self.pods if is_active(one.object) and not self._is_lost(one))

    def _is_lost(self, pod: Pod) -> bool:
        """So its models are loaded elsewhere. Should it answer again, it is told what to hold."""
        if pod.report is not None or is_ready(pod.object):
            return False
        return is_unheard(self.nodes, pod.object["spec"].get("nodeName"))

    @cached_property
    def plans(self) -> Mapping[str, PooledRevision]:
        """By engine: all that its models' stored revisions tell. Of equals any will do."""
        return {one.id: one for member in self.members for one in member.revisions}

    def wanted(self, member: Member) -> PooledRevision | None:
        return member.wanted(self.pool, self._resident)

    @cached_property
    def _resident(self) -> frozenset[str]:
        return frozenset(one.id for one in self.status.engines if one.pod_uid)

    @cached_property
    def asked_by(self) -> Mapping[str, tuple[Member, ...]]:
        """By engine, the models whose spec asks for it."""
        found: dict[str, tuple[Member, ...]] = {}
        for member in self.members:
            wanted = self.wanted(member)
            if wanted is not None:
                found[wanted.id] = (*found.get(wanted.id, ()), member)
        return found


@dataclass(frozen=True)
class Unreadable:
    """A ModelPool that passed the API server's checks of another version, but not ours."""

    cr: Object
    now: datetime
    problem: str


def started_at(pod: Object) -> datetime | None:
    """When the engine container's present life began: a pod counts its seconds from there."""
    for one in container_statuses(pod):
        if one["name"] == "engine":
            return moment((one.get("state", {}).get("running") or {}).get("startedAt"))
    return None


def uid(pod: Pod) -> str:
    found: str = pod.object["metadata"]["uid"]
    return found
