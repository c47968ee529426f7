"""What the gateway's page shows: models of a real API server, engines that answer, and a gateway.

There is no operator: `SaidOperator` writes what one would. No node has the models' cards either, so
the plans are written by hand. What routes, counts, answers and draws is real.
"""

import hashlib
import json
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubelet
from cluster_client import ClusterClient
from gateway_process import GatewayProcess
from gateway_site import EngineProcess

from berth_api import names
from dev.controlplane import ControlPlane

Object = dict[str, Any]

NAMESPACE = "harbour"
KEY, GUEST = "sk-berth-of-all-models", "sk-berth-of-one-model"
GUEST_MODELS = ["smollm2"]
SERVING, SMALL, ASLEEP, LOADING, FAILED = (
    "qwen3-8b", "smollm2", "mistral-small", "llama-70b", "gpt-oss-120b",
)  # fmt: skip
TOGETHER, AWAY = ("starcoder2-3b", "tinyllama-1b"), "zephyr-3b"  # of the pool
POOL = "small"
ENGINES: Mapping[str, Mapping[str, str]] = {
    SERVING: {"TOKENS_PER_SECOND": "60"},
    SMALL: {"TOKENS_PER_SECOND": "25"},
    ASLEEP: {"TOKENS_PER_SECOND": "40"},
    **{name: {} for name in TOGETHER},
}
_LOOK_SECONDS = 0.2
_MODELS = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.PLURAL}"
_POOLS = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.PLURAL_POOL}"
_SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
_GIB = 2**30


def _gib(count: float) -> int:
    return int(count * _GIB)


def plan(ranks: int, weights: float, kv: float, **more: Any) -> Object:
    """Of H100s; GiB of one card."""
    return {
        "accelerator": "h100", "engineProfile": "vllm", "image": "vllm:1", "device": "cuda",
        "tensorParallelSize": ranks, "gpusPerReplica": ranks, "gpuMemoryFraction": "0.92",
        "dtype": "bfloat16", "kvCacheDtype": "auto", "usableBytes": _gib(73.28),
        "weightsBytes": _gib(weights), "activationBytes": _gib(1.63), "graphBytes": _gib(0.9),
        "overheadBytes": _gib(0.62), "kvBytesPerToken": 147_456, "kvCacheBytes": _gib(kv),
        "kvCacheTokens": 400_000, "maxModelLen": 40_960, "maxNumSeqs": 256,
        "maxNumBatchedTokens": 8192, "memoryBytes": _gib(8), "millicpu": 4000,
    } | more  # fmt: skip


ON_CPU = plan(
    1, 0.51, 1.2, accelerator="cpu", device="cpu", gpusPerReplica=0, usableBytes=_gib(3),
    gpuMemoryFraction=None, activationBytes=_gib(0.2), graphBytes=0, overheadBytes=_gib(0.55),
    maxModelLen=8192, measured={"residentBytes": _gib(1.94), "weightsBytes": _gib(0.5), "kvCacheBytes": _gib(1.2)},
)  # fmt: skip
MEASURED = {
    "weightsBytes": _gib(15.27), "activationBytes": _gib(1.42), "graphBytes": _gib(0.83),
    "kvCacheBytes": _gib(55.1), "kvCacheTokens": 401_000,
}  # fmt: skip
AUTO = {"scaling": {"mode": "Auto", "maxReplicas": 4}, "keepAlive": "10m"}
IDLE = {
    "phase": "Idle", "progress": None, "reason": "ScaledToZero", "replicas": 0, "readyReplicas": 0,
    "message": "nothing runs; the first request starts a replica",
    "scaling": {"desiredReplicas": 0, "targetQueueDepth": 16, "reason": "KeepAlive"},
}  # fmt: skip
_WOKEN = {"desiredReplicas": 1, "targetQueueDepth": 16, "reason": "Activating"}
HALFWAY = {
    "phase": "Loading", "progress": "43%", "reason": "Activating", "replicas": 1,
    "message": "Loading 43 %, about 2 s left",
    "load": {"phase": "Loading", "percent": 43, "etaSeconds": 2}, "scaling": _WOKEN,
}  # fmt: skip
UP = {
    "phase": "Serving",
    "reason": "Serving",
    "message": "1 of 1 replicas serve",
    "readyReplicas": 1,
}

WORLD: Mapping[str, tuple[Object, Object]] = {
    SERVING: (AUTO, {
        "phase": "Serving", "reason": "Serving", "message": "2 of 2 replicas serve",
        "replicas": 2, "readyReplicas": 2, "plan": plan(1, 15.3, 54.8, measured=MEASURED),
        "scaling": {"desiredReplicas": 2, "targetQueueDepth": 16, "reason": "Load"},
    }),
    SMALL: ({}, {
        "phase": "Serving", "reason": "Serving", "message": "1 of 1 replicas serve",
        "replicas": 1, "readyReplicas": 1, "plan": ON_CPU,
    }),
    ASLEEP: (AUTO, IDLE | {"plan": plan(1, 44.0, 26.1, maxModelLen=32_768)}),
    LOADING: (AUTO, {
        "phase": "Loading", "progress": "61%", "reason": "Activating",
        "message": "Loading 61 %, about 25 s left", "replicas": 1, "readyReplicas": 0,
        "load": {"phase": "Loading", "percent": 61, "etaSeconds": 25},
        "plan": plan(4, 33.1, 36.9, maxModelLen=131_072), "scaling": _WOKEN,
    }),
    FAILED: ({"replicas": 2}, {
        "phase": "Pending", "reason": "InsufficientGPU", "replicas": 2, "readyReplicas": 0,
        "message": "0/3 nodes are available. Fix: add a node, or lower spec.replicas",
        "plan": plan(2, 30.4, 39.6, maxModelLen=131_072),
    }),
}  # fmt: skip


def _pooled(weights: float, kv: float, **status: Any) -> tuple[Object, Object]:
    """Of a fifth of a card."""
    measured = {"weightsBytes": _gib(weights - 0.02), "kvCacheBytes": _gib(kv + 0.1)}
    share = plan(
        1, weights, kv, gpuMemoryFraction="0.2", usableBytes=_gib(15.93), maxModelLen=8192,
        measured=measured if status["phase"] == "Serving" else None,
    )  # fmt: skip
    return {"pool": POOL}, {"plan": share, "replicas": 1, "readyReplicas": 1} | status


IN_POOL: Mapping[str, tuple[Object, Object]] = {
    TOGETHER[0]: _pooled(5.6, 7.1, **UP),
    TOGETHER[1]: _pooled(2.1, 10.6, **UP),
    AWAY: _pooled(5.2, 7.5, **(IDLE | {"scaling": None})),
}
POOL_POD = "berth-pool-small-7d4f9-x2x8q"
POOL_STATUS = {
    "phase": "Ready", "replicas": 1, "readyReplicas": 1, "loaded": 2, "waiting": 0,
    "cards": [{"pod": POOL_POD, "index": 0, "totalBytes": _gib(73.28), "grantedBytes": _gib(31.86)}],
    "engines": [
        *({"id": f"e-{name}", "models": [name], "state": "Serving", "reason": "Serving", "pod": POOL_POD, "cards": [0],
           "memoryBytes": _gib(15.93)} for name in TOGETHER),
        {"id": f"e-{AWAY}", "models": [AWAY], "state": "Absent", "memoryBytes": _gib(15.93)},
    ],
}  # fmt: skip


@dataclass
class SaidOperator:
    """Wakes the sleeping model for those who wait for it, and lets it go when it is told to.

    A load stops halfway until it may go on: a page that is slow is to see it too.
    """

    cluster: ClusterClient
    gateway: GatewayProcess
    engine: EngineProcess
    may_serve: threading.Event = field(default_factory=threading.Event)
    _is_loading: bool = False

    def look(self) -> None:
        asked = self._asked()
        if self._is_loading:
            self._load_on()
        elif asked.get("held") and not self._is_up():
            self._write(HALFWAY)
            self._is_loading = True
        elif asked.get("keepAliveSeconds") == 0 and self._is_up():
            self.cluster.delete(f"{_SLICES}/{ASLEEP}")
            self._write(IDLE)

    def _load_on(self) -> None:
        if self.may_serve.is_set():
            self._write(UP | {"progress": None, "load": None})
            route(self.cluster, ASLEEP, self.engine)
            self._is_loading = False

    def _write(self, status: Object) -> None:
        self.cluster.patch(f"{_MODELS}/{ASLEEP}/status", {"status": status})

    def _is_up(self) -> bool:
        return self.cluster.find(f"{_SLICES}/{ASLEEP}") is not None

    def _asked(self) -> Object:
        url = f"http://127.0.0.1:{self.gateway.management_port}{names.PATH_DEMAND}?once=true"
        with urllib.request.urlopen(url, timeout=5) as answer:
            models = json.load(answer)["models"]
        found: Object = next((one for one in models if one["model"] == ASLEEP), {})
        return found


def route(cluster: ClusterClient, model: str, engine: EngineProcess) -> None:
    """By name, as it were: the API server takes no loopback address for an endpoint."""
    cluster.create(
        _SLICES,
        {
            "metadata": {"name": model, "labels": {names.LABEL_MODEL: model}},
            "addressType": "FQDN",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": names.PORT_NAME_ENGINE, "port": engine.port}],
        },
    )


def _hashed(key: str, **limits: Any) -> str:
    entry = {"sha256": hashlib.sha256(key.encode()).hexdigest()} | limits
    return b64encode(json.dumps(entry).encode()).decode()


def populate(cluster: ClusterClient) -> None:
    cluster.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    data = {"team-harbour": _hashed(KEY), "guest": _hashed(GUEST, models=GUEST_MODELS)}
    secret = {"metadata": {"name": names.SECRET_API_KEYS}, "data": data}
    cluster.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)
    pool = {"accelerator": {"profile": "h100"}, "cache": {"claimName": "models"}}
    kind = {"apiVersion": names.API_VERSION, "kind": names.KIND_POOL, "metadata": {"name": POOL}}
    cluster.create(_POOLS, kind | {"spec": pool})
    cluster.patch(f"{_POOLS}/{POOL}/status", {"status": POOL_STATUS})
    for name, (spec, status) in (WORLD | IN_POOL).items():
        source = {"model": {"source": f"hf://harbour/{name}"}}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}}
        cluster.create(_MODELS, body | {"spec": source | spec})
        cluster.patch(f"{_MODELS}/{name}/status", {"status": status})


def models(cluster: ClusterClient) -> list[Object]:
    return cluster.items(_MODELS)


@contextmanager
def page_site(plane: ControlPlane, folder: Path) -> Iterator[SaidOperator]:
    """A gateway whose models are those of WORLD, for as long as the context lasts."""
    cluster = ClusterClient(plane.kubeconfig)
    populate(cluster)
    with ExitStack() as running:
        engines = {}
        for name, knobs in ENGINES.items():
            flags = ("--served-model-name", name)
            engines[name] = EngineProcess(folder, name, knobs, flags)
            running.callback(engines[name].kill)
            engines[name].start()
        for name in (SERVING, SMALL, *TOGETHER):
            route(cluster, name, engines[name])
        gateway = GatewayProcess(folder, arguments(plane))
        running.callback(gateway.kill)
        gateway.start()
        operator = SaidOperator(ClusterClient(plane.kubeconfig), gateway, engines[ASLEEP])
        running.enter_context(kubelet.every(_LOOK_SECONDS, operator.look, "said-operator"))
        yield operator


def arguments(plane: ControlPlane, *more: str) -> tuple[str, ...]:
    places = ("--cluster", "--kubeconfig", str(plane.kubeconfig))
    return (*places, "--namespace", NAMESPACE, "--watch-namespaces", NAMESPACE, *more)
