"""Models in each state that a user asks about, as the operator writes them, and their gateway."""

import json
from typing import Any

from fakes.terminal import TerminalCluster

from berth_api import names, seat
from berth_api.demand import Demand, ModelDemand
from berth_api.model_deployment import ModelDeployment
from berth_api.pool import PoolStatus
from berth_cli.models import Asked, Known

NAMESPACE = "team-a"
GIB = 2**30
PLAN: dict[str, Any] = {
    "accelerator": "h100",
    "engineProfile": "vllm",
    "image": "example.test/vllm:1",
    "device": "cuda",
    "fits": True,
    "tensorParallelSize": 2,
    "pipelineParallelSize": 1,
    "gpusPerReplica": 2,
    "gpuMemoryFraction": "0.92",
    "dtype": "bfloat16",
    "kvCacheDtype": "auto",
    "usableBytes": 73 * GIB,
    "weightsBytes": 33 * GIB,
    "activationBytes": 2 * GIB,
    "kvBytesPerToken": 163_840,
    "kvCacheBytes": 37 * GIB,
    "kvCacheTokens": 242_000,
    "maxModelLen": 131_072,
    "maxNumSeqs": 256,
    "maxNumBatchedTokens": 2048,
    "memoryBytes": 8 * GIB,
    "millicpu": 4000,
}
ON_CPU = PLAN | {
    "accelerator": "cpu",
    "device": "cpu",
    "tensorParallelSize": 1,
    "gpuMemoryFraction": None,
    "usableBytes": 3 * GIB,
    "maxModelLen": 8192,
    "measured": {"residentBytes": 2 * GIB},
}
TOO_LARGE = PLAN | {
    "fits": False,
    "nearestFixes": [
        "set spec.runtime.maxModelLen to 32768 or less",
        "set spec.accelerators to a profile with 8 GPUs in a node",
    ],
}
FAILURE = {
    "pod": "llama-70b-5c6d-x",
    "node": "gpu-1",
    "reason": "OutOfMemory",
    "message": "CUDA out of memory while the model's weights were loaded",
    "fix": "lower spec.memory.gpuMemoryFraction, or free the card",
    "exitCode": 1,
    "time": "2026-01-02T03:04:05Z",
    "count": 3,
}


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    at = "2026-01-02T03:00:00Z"
    found = {"type": kind, "status": status, "reason": reason, "message": message}
    return found | {"lastTransitionTime": at}


def model(name: str, spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    source = {"model": {"source": "hf://organisation/" + name}}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": source | (spec or {}),
        "status": status,
    }


SERVING = model(
    "smollm2",
    phase="Serving",
    reason="Serving",
    message="1 of 1 replicas serve",
    url="http://berth.berth-system.svc/v1",
    replicas=1,
    readyReplicas=1,
    model={"commit": "12fd25f77366fa6b3b4b768ec3050bf629380bac"},
    plan={name: value for name, value in ON_CPU.items() if value is not None},
    conditions=[condition("Ready", "True", "Serving"), condition("Planned", "True", "Fits")],
)
LOADING = model(
    "llama-70b",
    {"scaling": {"mode": "Auto", "maxReplicas": 4}, "keepAlive": "10m"},
    phase="Loading",
    progress="43%",
    reason="Activating",
    message="Loading 43 %, about 25 s left",
    replicas=1,
    readyReplicas=0,
    plan=PLAN,
    load={"phase": "Loading", "percent": 43, "etaSeconds": 25},
    scaling={"desiredReplicas": 1, "targetQueueDepth": 16, "reason": "Activating"},
    lastFailure=FAILURE,
    conditions=[
        condition("Ready", "False", "Activating", "Loading 43 %, about 25 s left"),
        condition("Planned", "True", "Fits", "weights 33 GiB on each of 2 GPUs"),
        condition("Scheduled", "True", "Scheduled", "1 pods have their nodes"),
        condition("ModelCached", "True", "Verified", "the model's files are there"),
        condition("RuntimeHealthy", "False", "EngineStarting", "Loading 43 %, about 25 s left"),
        condition("Routed", "False", "NoReadyPods", "no pod takes requests"),
        condition("Progressing", "True", "RollingOut", "0 of 1 replicas serve"),
    ],
)
IDLE = model(
    "qwen3",
    {"scaling": {"mode": "Auto"}},
    phase="Idle",
    reason="ScaledToZero",
    message="nothing runs; the first request starts a replica",
    replicas=0,
    readyReplicas=0,
    plan=PLAN | {"tensorParallelSize": 1, "maxModelLen": 40_960},
    scaling={"desiredReplicas": 0, "targetQueueDepth": 16, "reason": "KeepAlive"},
    conditions=[condition("Ready", "True", "ScaledToZero")],
)
UNPLACED = model(
    "gpt-oss",
    {"replicas": 2},
    phase="Pending",
    reason="InsufficientGPU",
    message="0/3 nodes are available. Fix: add a node, or lower spec.replicas",
    replicas=2,
    readyReplicas=0,
    plan=TOO_LARGE | {"fits": True, "nearestFixes": []},
    conditions=[
        condition("Ready", "False", "Failed", "0/3 nodes are available"),
        condition("Planned", "True", "Fits"),
        condition("Scheduled", "False", "InsufficientGPU", "0/3 nodes are available: 2 to go"),
        condition("ModelCached", "Unknown", "Downloading", "waiting for the pod"),
    ],
)
REFUSED = model(
    "deepseek",
    phase="Failed",
    reason="DoesNotFit",
    message="weights 630 GiB and 160 GiB are there",
    replicas=0,
    readyReplicas=0,
    plan=TOO_LARGE,
    conditions=[
        condition("Ready", "False", "Failed", "weights 630 GiB and 160 GiB are there"),
        condition("Planned", "False", "DoesNotFit", "weights 630 GiB and 160 GiB are there"),
    ],
)
NEW = model("new")
POOLED = model(
    "mistral",
    {"pool": "small"},
    phase="Serving",
    reason="Serving",
    message="loaded in small-pool-1f-x on card 0",
    replicas=1,
    readyReplicas=1,
    plan=PLAN | {"tensorParallelSize": 1, "maxModelLen": 32_768},
    conditions=[condition("Ready", "True", "Serving")],
)
WAITING = model(
    "gemma",
    {"pool": "small"},
    phase="Pending",
    reason="Activating",
    message="waits for mistral, which may go at 2026-01-02T03:04:40Z",
    replicas=0,
    readyReplicas=0,
    plan=PLAN | {"tensorParallelSize": 1, "maxModelLen": 8192},
    conditions=[
        condition("Ready", "False", "Activating", "waits for mistral"),
        condition("Planned", "True", "Fits"),
        condition("Scheduled", "Unknown", "Waiting", "no room of the pool is asked for or given"),
    ],
)
ENGINE: dict[str, Any] = {
    "id": "1a2b3c4d5e",
    "models": ["mistral"],
    "state": "Serving",
    "pod": "small-pool-1f-x",
    "cards": [0],
    "memoryBytes": 40 * GIB,
    "until": "2026-01-02T03:09:05Z",
    "reason": "Idle",
}
WANTED: dict[str, Any] = {
    "id": "5f6a7b8c9d",
    "models": ["gemma"],
    "state": "Waiting",
    "memoryBytes": 60 * GIB,
    "reason": "MinimumResidency",
    "message": "waits for mistral, which may go at 2026-01-02T03:04:40Z",
}
POOL: dict[str, Any] = {
    "apiVersion": names.API_VERSION,
    "kind": names.KIND_POOL,
    "metadata": {"name": "small", "namespace": NAMESPACE},
    "spec": {"accelerator": {"profile": "h100"}, "cache": {"claimName": "models"}},
    "status": {
        "phase": "Ready",
        "reason": "Serving",
        "replicas": 1,
        "readyReplicas": 1,
        "loaded": 1,
        "waiting": 1,
        "engines": [ENGINE, WANTED],
        "cards": [
            {
                "pod": "small-pool-1f-x",
                "index": 0,
                "totalBytes": 73 * GIB,
                "grantedBytes": 40 * GIB,
            }
        ],
    },
}
STAYS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "forever"),
    ({"keepAlive": "1m"}, "forever"),
    ({"scaling": {"mode": "Auto"}}, "5m idle"),
    ({"scaling": {"mode": "Auto"}, "keepAlive": "1h"}, "1h idle"),
    ({"scaling": {"mode": "Auto"}, "keepAlive": "-1"}, "forever"),
    ({"scaling": {"mode": "Auto", "minReplicas": 1}}, "forever"),
)
"""Specs, and how long users are told that a model of each stays."""
MODELS = (SERVING, LOADING, IDLE, UNPLACED, REFUSED, POOLED, WAITING)


def known(cr: dict[str, Any], asked: Asked | None = None, *engines: dict[str, Any]) -> Known:
    """As `models` reads it; `engines` are those that its pool tells of."""
    typed = ModelDeployment.model_validate(cr)
    assert typed.status is not None
    name, pool = cr["metadata"]["name"], typed.spec.pool
    told = PoolStatus.model_validate({"engines": list(engines)})
    where = None if pool is None else seat.find(pool, name, {pool: seat.seats(pool, told)})
    return Known(NAMESPACE, name, typed.spec, typed.status, asked, where)


def pod(name: str, of: str, *, role: str = names.ROLE_ENGINE, **status: Any) -> dict[str, Any]:
    labels = {names.LABEL_MODEL: of, names.LABEL_ROLE: role}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": status}


def pool_pod(name: str = "small-pool-1f-x", of: str = "small", born: str = "") -> dict[str, Any]:
    labels = {names.LABEL_POOL: of, names.LABEL_ROLE: names.ROLE_POOL}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "creationTimestamp": born}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}}


def gateway_pod(name: str = "berth-gateway-1") -> dict[str, Any]:
    labels = {names.LABEL_NAME: names.PART_OF, names.LABEL_COMPONENT: names.COMPONENT_GATEWAY}
    ports = [{"name": "http", "containerPort": 8080}, {"name": "management", "containerPort": 8081}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "berth-system", "labels": labels},
        "spec": {"containers": [{"name": "gateway", "ports": ports}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


UNSCHEDULED = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ],
}
PULLING = {
    "phase": "Pending",
    "containerStatuses": [
        {
            "name": "engine",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }
    ],
}
DEMAND = (
    ModelDemand(namespace=NAMESPACE, model="smollm2", in_flight={"pod-1": 3}),
    ModelDemand(namespace=NAMESPACE, model="llama-70b", held=2, oldest_held_seconds=14.2),
)


def cluster(*models: dict[str, Any]) -> TerminalCluster:
    """With a gateway that tells its demand."""
    found = TerminalCluster()
    for one in (*(models or MODELS), POOL, pool_pod(), gateway_pod()):
        found.put(json.loads(json.dumps(one)))
    told = Demand(gateway="g", synced=True, models=list(DEMAND))
    found.proxied["berth-gateway-1"] = told.wire().encode()
    found.put(pod("gpt-oss-7f-x", "gpt-oss", **UNSCHEDULED))
    found.put(
        pod("llama-70b-5c6d-x", "llama-70b", phase="Running") | {"spec": {"nodeName": "gpu-1"}}
    )
    found.put(pod("llama-70b-shape-x", "llama-70b", role=names.ROLE_SHAPE, phase="Succeeded"))
    return found
