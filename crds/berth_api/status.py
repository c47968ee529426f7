"""What the operator answers: the status of a ModelDeployment."""

from enum import Enum
from typing import Literal

from pydantic import Field

from berth_api.spec import ApiModel


class ConditionType(str, Enum):
    READY = "Ready"
    PLANNED = "Planned"
    MODEL_CACHED = "ModelCached"
    SCHEDULED = "Scheduled"
    RUNTIME_HEALTHY = "RuntimeHealthy"
    ROUTED = "Routed"
    PROGRESSING = "Progressing"
    SCALING_ACTIVE = "ScalingActive"
    PAUSED = "Paused"


class Condition(ApiModel):
    """metav1.Condition."""

    type: str = Field(max_length=316)
    status: Literal["True", "False", "Unknown"]
    observed_generation: int | None = None
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"})
    reason: str = Field(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", max_length=1024)
    message: str = Field(max_length=32_768)


class Memories(ApiModel):
    """What the engine measured on one rank. Absent is unknown."""

    weights_bytes: int | None = None
    activation_bytes: int | None = None
    graph_bytes: int | None = None
    kv_cache_bytes: int | None = None
    kv_cache_tokens: int | None = None
    resident_bytes: int | None = None
    max_model_len: int | None = None


class Alternative(ApiModel):
    """A choice that the planner did not make."""

    accelerator: str
    tensor_parallel_size: int | None = None
    reason: str = Field(description="Why not, in one sentence.")


class AdapterSlots(ApiModel):
    """Room for LoRA adapters in an engine."""

    count: int = Field(description="Adapters in one batch; more of them take turns.")
    max_rank: int = Field(description="A slot is this wide, whatever its adapter's rank.")
    modules: list[str] = Field(description="Modules that have slots.")
    slot_bytes: int = Field(description="Of all slots together, on one rank.")
    host_bytes: int = Field(description="Of all adapters in a pod's own memory.")


class Plan(ApiModel):
    """The planner's answer for the update revision. Bytes are per GPU, or per pod on CPU."""

    accelerator: str = Field(description="Accelerator profile.")
    engine_profile: str
    image: str
    device: str
    fits: bool = True
    tensor_parallel_size: int
    pipeline_parallel_size: int = Field(default=1, description="Nodes that one replica spans.")
    gpus_per_replica: int
    gpu_memory_fraction: str | None = None
    dtype: str
    kv_cache_dtype: str
    usable_bytes: int = Field(description="The fraction's share of a GPU, or a pod's memory.")
    weights_bytes: int
    activation_bytes: int
    graph_bytes: int = 0
    overhead_bytes: int = Field(
        default=0, description="Driver context, communication buffers, processes."
    )
    kv_bytes_per_token: int
    kv_cache_bytes: int
    kv_cache_tokens: int
    max_model_len: int
    max_concurrency: int = Field(
        default=0, description="Sequences of maxModelLen tokens that fit at once."
    )
    max_num_seqs: int
    max_num_batched_tokens: int
    mm_encoder_tp_mode: str | None = Field(
        default=None, description="data: a vision tower runs whole on each rank."
    )
    memory_bytes: int = Field(description="Host memory that a pod requests.")
    millicpu: int = Field(description="Thousandths of a CPU that a pod requests.")
    explain: list[str] = Field(default_factory=list, description="Why each value is what it is.")
    alternatives: list[Alternative] = Field(
        default_factory=list, description="What was not chosen, and why."
    )
    nearest_fixes: list[str] = Field(
        default_factory=list, description="What to change, where it does not fit."
    )
    learned_from: str | None = Field(
        default=None, description="The measurement that this plan was corrected by."
    )
    learned_bytes: int | None = Field(
        default=None, description="By how many bytes: above 0 is more kept free."
    )
    learned_outside_bytes: int | None = Field(
        default=None, description="By how many the engine's share of a GPU was made smaller."
    )
    adapter_slots: AdapterSlots | None = None
    measured: Memories | None = None
    deviation_percent: dict[str, int] | None = Field(
        default=None,
        description="Measured beside planned, in percent of a GPU's memory; above 0 is more.",
    )


class Load(ApiModel):
    """How far the furthest pod of the update revision is."""

    phase: str
    percent: int | None = None
    eta_seconds: int | None = None


class LastFailure(ApiModel):
    pod: str | None = None
    node: str | None = None
    reason: str
    message: str
    fix: str = ""
    exit_code: int | None = None
    time: str = Field(json_schema_extra={"format": "date-time"})
    count: int = 1


class QueueStatus(ApiModel):
    """Written with other changes, or every few seconds while it changes."""

    depth: int = Field(description="Requests that wait in the gateways for a replica.")
    oldest_seconds: int = Field(default=0, description="How long the first of them has waited.")


class ScalingStatus(ApiModel):
    """The last decision about replicas, where scaling.mode is Auto."""

    desired_replicas: int
    target_queue_depth: int = Field(description="Requests per replica that it aims at.")
    target_reason: str = Field(default="", description="Why it aims at so many.")
    reason: str = Field(description="In one word, for programs.")
    message: str = Field(default="", description="With the numbers that led to it.")
    last_scale_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})


class ModelStatus(ApiModel):
    commit: str = Field(description="The immutable revision that is served.")
    file_bytes: int = 0
    parameters_dtype: str = ""
    architecture: str = Field(default="", description="model_type of its config.json.")


class AdapterStatus(ApiModel):
    """A LoRA adapter that every replica can serve."""

    name: str
    commit: str = Field(description="The immutable revision that is served.")
    rank: int
    file_bytes: int = 0


class Status(ApiModel):
    observed_generation: int | None = None
    phase: str | None = Field(
        default=None,
        description="Planning, Pending, Fetching, Starting, Loading, Compiling, Warming, Serving, "
        "Idle, Draining or Failed.",
    )
    progress: str | None = Field(default=None, description='The phase\'s percent, as "43%".')
    reason: str | None = Field(default=None, description="Of the Ready condition.")
    message: str | None = Field(default=None, description="Of the Ready condition.")
    url: str | None = None
    replicas: int | None = None
    ready_replicas: int | None = None
    updated_replicas: int | None = None
    selector: str | None = None
    current_revision: str | None = None
    update_revision: str | None = None
    model: ModelStatus | None = None
    adapters: list[AdapterStatus] | None = Field(
        default=None, description="LoRA adapters that every replica can serve."
    )
    plan: Plan | None = None
    load: Load | None = None
    queue: QueueStatus | None = None
    scaling: ScalingStatus | None = None
    blocked_revision: str | None = Field(
        default=None, description="An update that failed, and was given up for the one before it."
    )
    last_failure: LastFailure | None = None
    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
