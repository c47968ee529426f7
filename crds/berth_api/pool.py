"""A ModelPool: pods whose accelerators many ModelDeployments take turns on, and what it answers.

A room of its own beside `spec` and `status`, for it is a kind of its own: a ModelDeployment says
what it wants of a pool (`pool`, `priority`, `evictable`, `keepAlive`), and the pool what there is.
"""

from typing import Final, Literal

from pydantic import ConfigDict, Field

from berth_api import rules
from berth_api.spec import (
    MAX_DRAIN_SECONDS,
    MAX_GPUS,
    ApiModel,
    Cache,
    DnsLabel,
    EngineImage,
    EngineProfileName,
    PodTemplate,
    Resources,
)
from berth_api.status import Condition, Memories

# What is swapped more often is loading most of the time.
DEFAULT_MIN_RESIDENCY_SECONDS: Final = 30
# Twice Ollama users' patience with a model that is loading, less than an HTTP client's.
DEFAULT_STARVATION_SECONDS: Final = 60
MAX_POOL_PODS: Final = 100
# Beyond what a card of any size has room for; each is a port of its pod (names.PORTS_POOL).
MAX_ENGINES: Final = 64


class PoolAccelerator(ApiModel):
    profile: DnsLabel = Field(description="An accelerator profile of the chart.")
    gpus_per_pod: int = Field(
        default=1, ge=1, le=MAX_GPUS, description="Whole GPUs of each pod; without meaning on CPU."
    )


class PoolRuntime(ApiModel):
    engine_profile: EngineProfileName = "auto"
    image: EngineImage = None


class Residency(ApiModel):
    """Who stays and who goes: docs/pools.md."""

    min_residency_seconds: int = Field(
        default=DEFAULT_MIN_RESIDENCY_SECONDS,
        ge=0,
        le=3600,
        description="How long a model that serves is not evicted for another.",
    )
    starvation_seconds: int = Field(
        default=DEFAULT_STARVATION_SECONDS,
        ge=1,
        le=3600,
        description="How long a request waits before busy models are closed for its own.",
    )
    max_engines: int = Field(
        default=MAX_ENGINES, ge=1, le=MAX_ENGINES, description="Loaded at once in one pod."
    )


class PoolSpec(ApiModel):
    accelerator: PoolAccelerator
    replicas: int = Field(default=1, ge=0, le=MAX_POOL_PODS, description="Pods.")
    runtime: PoolRuntime = Field(default_factory=PoolRuntime)
    resources: Resources = Field(
        default_factory=Resources,
        description="Of each pod; on CPU its memory is what models share.",
    )
    cache: Cache = Field(
        description="Where the models' files are kept; every pod of the pool mounts it."
    )
    residency: Residency = Field(default_factory=Residency)
    drain_timeout_seconds: int = Field(
        default=300, ge=1, le=MAX_DRAIN_SECONDS, description="For streams of a pod that ends."
    )
    pod_template: PodTemplate = Field(default_factory=PodTemplate)


EngineState = Literal["Absent", "Waiting", "Loading", "Serving", "Draining", "Failed", "Refused"]
TAKES_ROOM: Final[frozenset[EngineState]] = frozenset({"Loading", "Serving", "Draining"})


class PoolEngine(ApiModel):
    """One engine that the pool's models ask for, or that is still there. Bytes are of each card."""

    id: str = Field(description="A hash of all that makes one engine differ from another.")
    models: list[str] = Field(default_factory=list, description="metadata.name of each.")
    state: EngineState
    pod: str | None = Field(default=None, description="Where it is, or was ordered.")
    pod_uid: str | None = None
    cards: list[int] = Field(default_factory=list, description="Indexes in the pod; [] on CPU.")
    memory_bytes: int = Field(description="Its share of each of its cards.")
    port: int | None = None
    attempt: int = Field(default=0, description="Failures since it last served.")
    since: str | None = Field(
        default=None,
        description="When it was ordered, while it loads; then when it began to serve.",
        json_schema_extra={"format": "date-time"},
    )
    until: str | None = Field(
        default=None,
        description="When it goes if nobody asks for it; absent: no time ends it.",
        json_schema_extra={"format": "date-time"},
    )
    load_seconds: int | None = Field(default=None, description="That its last load took.")
    reason: str = Field(default="", description="In one word: why it is there, waits or is gone.")
    message: str = ""
    percent: int | None = Field(default=None, description="Of the phase that its load is in.")
    phase: str | None = Field(default=None, description="While it loads, as the pod says.")
    eta_seconds: int | None = Field(default=None, description="Until it serves.")
    measured: Memories | None = Field(default=None, description="What it took when last loaded.")
    failure_reason: str | None = None
    failure_message: str | None = None
    failure_fix: str | None = None
    blocked_until: str | None = Field(default=None, json_schema_extra={"format": "date-time"})


class PoolCard(ApiModel):
    """One accelerator of one pod; on CPU a pod's memory."""

    pod: str
    index: int
    total_bytes: int
    granted_bytes: int = Field(description="Shares of the engines that it holds.")


class PoolStatus(ApiModel):
    observed_generation: int | None = None
    phase: str | None = Field(default=None, description="Pending, Ready, Degraded or Refused.")
    reason: str | None = Field(default=None, description="Of the Ready condition.")
    message: str | None = Field(default=None, description="Of the Ready condition.")
    replicas: int | None = None
    ready_replicas: int | None = None
    loaded: int | None = Field(default=None, description="Engines that serve.")
    waiting: int | None = Field(default=None, description="Engines that wait for room.")
    selector: str | None = None
    sequence: int = Field(default=0, description="Of the orders to the pods; only grows.")
    orders: str = Field(default="", description="A hash of what was ordered with it.")
    engines: list[PoolEngine] = Field(
        default_factory=list,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
        },
    )
    cards: list[PoolCard] = Field(default_factory=list)
    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )


class ModelPool(ApiModel):
    """Pods whose accelerators the ModelDeployments that name it take turns on."""

    model_config = ConfigDict(json_schema_extra=rules.validations(*rules.POOL_NAME))

    spec: PoolSpec
    status: PoolStatus | None = None
