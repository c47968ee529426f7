"""What the operator tells a runtime pod, and what the pod reports back.

Both directions cross versions: a newer operator speaks to servers two versions back, so fields
are only added, unknown ones are ignored, and `protocol` counts the changes that break.
"""

from enum import Enum

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from berth_api.shape import Failure

PROTOCOL = 1

# Waiting requests that a replica takes for each one in its batch; beyond it another replica, or
# the gateway's queue, is the better place to wait.
QUEUE_PER_SEQUENCE = 4


def queue_limit(max_num_seqs: int) -> int:
    """Requests that one replica takes, running and waiting: its own refusal begins above."""
    return max_num_seqs * (1 + QUEUE_PER_SEQUENCE)


class Wire(BaseModel):
    """camelCase on the wire, snake_case in the code, unknown fields ignored."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
    )

    def wire(self) -> str:
        """The JSON that crosses: aliases, without unset optional fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Phase(str, Enum):
    """Where a runtime pod is; in this order, but for FAILED."""

    PENDING = "Pending"
    FETCHING = "Fetching"
    STARTING = "Starting"  # interpreter and imports
    LOADING = "Loading"  # weights
    COMPILING = "Compiling"
    WARMING = "Warming"  # profiling, KV cache, first generated token
    SERVING = "Serving"
    DRAINING = "Draining"
    FAILED = "Failed"


class EngineAdapters(Wire):
    """LoRA adapters that an engine loads when they are asked for, and no others."""

    slots: int = Field(gt=0, description="Adapters in one batch; each takes accelerator memory.")
    max_rank: int = Field(gt=0, description="One of the engine's own ranks; a slot is this wide.")
    modules: list[str] = Field(description="Suffixes of the modules that have slots.")
    folders: dict[str, str] = Field(description="The adapter's name -> the folder of its files.")


class EngineConfig(Wire):
    """One engine, wholly resolved: `berth_server.args` only spells it in the engine's flags."""

    name: str = Field(description="Served model name: the ModelDeployment's name.")
    command: list[str] = Field(description="The image's command before any flag.")
    device: str = Field(description="cuda, rocm or cpu.")
    port: int
    model_dir: str = Field(description="Folder that holds config.json, or a folder above it.")
    dtype: str = Field(description="auto, bfloat16, float16 or float32.")
    kv_cache_dtype: str = "auto"
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    expert_parallel: bool = Field(
        default=False, description="Whole experts on each rank instead of a part of every one."
    )
    mm_encoder_tp_mode: str | None = Field(
        default=None, description="data: a vision tower whole on each rank; None: split."
    )
    block_size: int | None = Field(
        default=None, description="Tokens of one KV block; None is the engine's own choice."
    )
    gpu_memory_fraction: str | None = Field(default=None, description="Decimal; None on CPU.")
    kv_cache_bytes: int | None = Field(default=None, description="KV bytes per rank, if fixed.")
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int | None = None
    enforce_eager: bool = False
    extra_args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict, description="Engine profile's variables.")
    allow_unsupported: bool | None = Field(
        default=None, description="Start a version with known weaknesses too."
    )
    adapters: EngineAdapters | None = None


class CompiledConfig(Wire):
    """Where what engines compile is kept between pods."""

    folder: str = Field(description="On the models' claim, for this purpose alone.")
    image: str = Field(description="The engine's: another one compiles otherwise.")


class ServerConfig(Wire):
    """ENV_SERVER_CONFIG of a runtime pod. A list of engines, because pools will hold several."""

    protocol: int = PROTOCOL
    namespace: str
    model: str = Field(description="The ModelDeployment's name.")
    revision: str
    engines: list[EngineConfig]
    status_port: int
    engine_key_file: str
    max_queued_requests: int = Field(description="Running and waiting, per engine; more is 429.")
    drain_timeout_seconds: int = Field(description="After SIGTERM, for streams in flight.")
    stall_timeout_seconds: int = Field(description="Work in flight and no progress for so long.")
    start_timeout_seconds: int = Field(description="From exec to the first generated token.")
    expected_start_seconds: int | None = Field(default=None, description="For estimates.")
    compiled: CompiledConfig | None = Field(default=None, description="None: nothing is kept.")


class FetchConfig(Wire):
    """ENV_FETCH_CONFIG of the fetch container and of the shape Job."""

    protocol: int = PROTOCOL
    source: str = Field(description="spec.model.source, verbatim.")
    commit: str | None = Field(default=None, description="What the shape Job pinned, if known.")
    directory: str = Field(description="Fetch into, or for oci:// and pvc:// read from, here.")
    status_port: int | None = None
    expected_bytes: int | None = Field(default=None, description="For the percent.")
    token_secret: str | None = Field(
        default=None, description="namespace/name[key] of the token's Secret, for messages only."
    )


class AdaptersConfig(Wire):
    """ENV_ADAPTERS_CONFIG of the adapters' fetch container and of the Job that reads them."""

    protocol: int = PROTOCOL
    adapters: list[FetchConfig]
    status_port: int | None = None
    expected_bytes: int | None = Field(default=None, description="Of all, for the percent.")


class PhaseMark(Wire):
    phase: Phase
    at_seconds: float = Field(description="Since the container's start.")


class Measured(Wire):
    """What the engine says it really took. Bytes are per rank. None is unknown, not zero."""

    weights_bytes: int | None = None
    kv_cache_bytes: int | None = None
    kv_cache_tokens: int | None = None
    activation_bytes: int | None = None
    graph_bytes: int | None = None
    graph_estimate_bytes: int | None = Field(
        default=None, description="Set aside for graphs before they were captured."
    )
    consumed_bytes: int | None = Field(
        default=None, description="Weights, driver context and communication, as the driver counts."
    )
    resident_bytes: int | None = Field(
        default=None, description="Proportional set size of the engine's processes."
    )
    max_model_len: int | None = None


class EngineStatus(Wire):
    name: str
    phase: Phase
    measured: Measured = Field(default_factory=Measured)
    running: int | None = Field(default=None, description="Requests in the engine's batch.")
    waiting: int | None = Field(default=None, description="Requests in the engine's queue.")
    failure: Failure | None = None
    restarts: int = 0
    # Of an engine in a pool's pod; unset in a dedicated one.
    id: str | None = Field(default=None, description="The order's: a revision's hash.")
    attempt: int | None = Field(default=None, description="The order's, as it was last started.")
    port: int | None = None
    cards: list[int] = Field(default_factory=list, description="Indexes in this pod.")
    memory_bytes: int | None = Field(default=None, description="Its share of each of its cards.")
    in_flight: int | None = None
    percent: int | None = Field(default=None, description="0 to 100 within the phase.")
    eta_seconds: int | None = Field(default=None, description="Until the engine serves.")
    message: str | None = Field(default=None, description="What it does or waits for.")
    started_seconds: float | None = Field(
        default=None, description="When this start began, since the container's start."
    )
    ready_seconds: float | None = Field(
        default=None, description="When it had its first token, since the container's start."
    )
    warm: bool | None = Field(
        default=None, description="Forked from a process that had the engine's imports done."
    )


class CardStatus(Wire):
    """One accelerator of a pool's pod; of a pod on CPU, its memory, with index 0."""

    index: int
    total_bytes: int
    free_bytes: int | None = Field(default=None, description="By the driver; None on CPU.")
    granted_bytes: int = Field(description="Shares of engines, until they are free again.")


class PodStatus(Wire):
    """`GET /status` of the wrapper, and of the fetcher while it runs."""

    protocol: int = PROTOCOL
    phase: Phase
    percent: int | None = Field(default=None, description="0 to 100 within the phase.")
    eta_seconds: int | None = Field(default=None, description="Until the pod serves.")
    message: str = ""
    timeline: list[PhaseMark] = Field(default_factory=list)
    in_flight: int = 0
    draining: bool = False
    engines: list[EngineStatus] = Field(default_factory=list)
    failure: Failure | None = None
    sequence: int | None = Field(default=None, description="Of a pool's last orders.")
    cards: list[CardStatus] = Field(default_factory=list, description="A pool's.")
