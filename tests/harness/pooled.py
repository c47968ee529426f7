"""Small true-to-life values of pools: a ModelPool, plans of its models, its pod and its reports."""

from datetime import timedelta
from typing import Any

import builders
from engine_configs import engine_config
from plans import gpu_plan

from berth_api import names
from berth_api.pool import PoolStatus
from berth_api.server import EngineStatus, Phase, PodStatus
from berth_api.shape import ShapeReport
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.observed import Load, Pod
from berth_operator.core.pools import pool, revision
from berth_operator.core.pools.observed import Member, PoolObserved
from berth_operator.core.pools.revision import PooledRevision
from berth_operator.core.resolved import resolve

GIB = 2**30
POOL_UID = "5d1f3c1a-0000-4000-8000-000000000002"
POD_UID = "uid-shared-pool-0"
SHAPE = ShapeReport.model_validate(builders.SMOLLM2_REPORT)


def pool_cr(**spec: Any) -> dict[str, Any]:
    """On cards of 80 GiB, one a pod."""
    given = {"accelerator": {"profile": "h100"}, "cache": {"claimName": "models"}}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND_POOL,
        "metadata": {
            "name": "shared",
            "namespace": "team-a",
            "uid": POOL_UID,
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": given | spec,
    }


def model_cr(name: str = "a", source: str = "pvc://models/a", **spec: Any) -> dict[str, Any]:
    annotations = spec.pop("annotations", {})
    cr = builders.model_deployment(source, pool="shared", **spec)
    named = {"name": name, "uid": f"uid-{name}", "annotations": annotations}
    return cr | {"metadata": cr["metadata"] | named}


def plan_of(cr: dict[str, Any], *, number: int = 1, gib: int = 30, **fields: Any) -> PooledRevision:
    """That was made for the spec as it is, with a share of so many GiB."""
    resolved = resolve(cr)
    config = {"name": "", "port": 0, "model_dir": f"/models/{resolved.spec.model.source}"}
    return revision.make(
        resolved,
        gpu_plan(usable_bytes=gib * GIB, **fields.pop("plan", {})),
        SHAPE,
        number=number,
        pool="shared",
        pool_hash=pool.resolve(pool_cr()).plan_hash,
        engine=engine_config(**(config | fields.pop("engine", {}))),
        files=fields.pop("files", ""),
    )


def member(cr: dict[str, Any] | None = None, *plans: PooledRevision, **known: Any) -> Member:
    """With the plan that its spec has, unless others are given."""
    given = cr or model_cr()
    found = plans or (plan_of(given),)
    load = known.pop("load", Load(complete=True))
    return Member(given, resolve(given), found, load=load, **known)


def pod_object(
    name: str = "shared-pool-0", *, ready: bool = True, **metadata: Any
) -> dict[str, Any]:
    """An hour old."""
    started = timestamp(builders.NOW - timedelta(hours=1))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": f"uid-{name}",
            "labels": {names.LABEL_POOL: "shared", names.LABEL_ROLE: names.ROLE_POOL},
        }
        | metadata,
        "spec": {"nodeName": "node-1"},
        "status": {
            "podIP": "10.0.0.1",
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "engine", "state": {"running": {"startedAt": started}}}],
        },
    }


def engine_report(id_: str, phase: Phase = Phase.SERVING, **fields: Any) -> EngineStatus:
    given = {"port": 8100, "cards": [0], "memory_bytes": 30 * GIB, "attempt": 0, "in_flight": 0}
    if phase is Phase.SERVING:
        given |= {"started_seconds": 10.0, "ready_seconds": 40.0}
    return EngineStatus(name=id_, id=id_, phase=phase, **(given | fields))


def pod(*engines: EngineStatus, sequence: int | None = 1, **known: Any) -> Pod:
    report = PodStatus(phase=Phase.SERVING, engines=list(engines), sequence=sequence)
    return Pod(pod_object(**known), report)


def observed(*members: Member, **known: Any) -> PoolObserved:
    cr = pool_cr(**known.pop("spec", {}))
    return PoolObserved(
        cr=cr,
        pool=pool.resolve(cr),
        status=known.pop("status", PoolStatus()),
        now=known.pop("now", builders.NOW),
        members=members,
        **{"pods": (pod(),), "complete": True} | known,
    )
