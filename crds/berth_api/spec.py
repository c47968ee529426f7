"""What a user may write: the spec of a ModelDeployment.

Names, units and limits are settled here for the whole API, also for the fields that a later
version fills; `rules.UNSERVED` says which those are, and the API server refuses them until then.
Kubernetes API conventions: sizes are quantities, times are integers in seconds, no floats.
"""

from enum import Enum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from berth_api import rules
from berth_api.rules import must

HF_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?"
SOURCE_PATTERN: Final = (
    rf"^(hf://{HF_ID}(@[A-Za-z0-9][A-Za-z0-9._/-]{{0,127}})?"
    r"|oci://[a-z0-9][a-zA-Z0-9._:/@-]{0,254}"
    r"|pvc://[a-z0-9][a-z0-9.-]{0,62}(/[A-Za-z0-9._][A-Za-z0-9._/-]{0,254})?)$"
)
DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|m|k|M|G|T)?$"
# More than 0, at most 1: at least one digit is not 0.
FRACTION: Final = r"^(auto|0?\.[0-9]{0,2}[1-9][0-9]{0,2}|1(\.0)?)$"
SERVED_NAME: Final = r"^[A-Za-z0-9]([A-Za-z0-9._:/@-]{0,253}[A-Za-z0-9])?$"
KEEP_ALIVE: Final = r"^(-[0-9]+(ms|s|m|h)?|([0-9]+(\.[0-9]+)?(ms|s|m|h))+|[0-9]+)$"
DEFAULT_KEEP_ALIVE: Final = "5m"  # Ollama's

# Sampling numbers, in the ranges that vLLM takes (vllm/sampling_params.py). Ten characters say more
# than an engine's float32 tells apart.
MAX_NUMBER_CHARACTERS: Final = 10
_AT_MOST_1: Final = r"1(\.0+)?"
_ABOVE_0: Final = r"0\.[0-9]*[1-9][0-9]*"
DECIMAL: Final = r"^[0-9]{1,2}(\.[0-9]+)?$"
POSITIVE: Final = rf"^([1-9][0-9]?(\.[0-9]+)?|{_ABOVE_0})$"
PROPORTION: Final = rf"^(0(\.[0-9]+)?|{_AT_MOST_1})$"
POSITIVE_PROPORTION: Final = rf"^({_ABOVE_0}|{_AT_MOST_1})$"
PENALTY: Final = r"^-?([01](\.[0-9]+)?|2(\.0+)?)$"

MAX_REPLICAS: Final = 1000
MAX_CONTEXT_TOKENS: Final = 16_777_216
# Beyond what one engine has ever batched; the planner judges the rest.
MAX_SEQUENCES: Final = 65_536
# Beyond any scale-up domain; the planner judges the rest.
MAX_GPUS: Final = 1024
MAX_QUEUED_REQUESTS: Final = 100_000
MAX_DRAIN_SECONDS: Final = 3600
# Every request of the model carries them, in the gateway's memory and in its prompt.
MAX_SYSTEM_CHARACTERS: Final = 65_536
MAX_MESSAGES: Final = 32
MAX_MESSAGE_CHARACTERS: Final = 16_384
MAX_STOPS: Final = 16
MAX_STOP_CHARACTERS: Final = 256
# Two containers of a shape Job tell this many in what the kubelet keeps of their last words.
MAX_ADAPTERS: Final = 64
# Integers that every JSON reader keeps exactly.
MAX_SEED: Final = 2**53 - 1
MAX_TOP_K: Final = 1_000_000


class ApiModel(BaseModel):
    """camelCase on the wire; unknown fields are ignored, so that a newer CRD crashes nothing."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
    )

    def wire(self) -> dict[str, Any]:
        """The plain JSON object, without fields that are unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


Auto = Literal["auto"]
Tokens = Annotated[int, Field(ge=1, le=MAX_CONTEXT_TOKENS)]
Sequences = Annotated[int, Field(ge=1, le=MAX_SEQUENCES)]
Gpus = Annotated[int, Field(ge=1, le=MAX_GPUS)]
QueueDepth = Annotated[int, Field(ge=1, le=MAX_QUEUED_REQUESTS)]

SourceText = Annotated[
    str,
    Field(
        pattern=SOURCE_PATTERN,
        max_length=512,
        json_schema_extra=must(
            "be hf://<organisation>/<model>[@<revision>], oci://<image reference> or "
            "pvc://<claim>[/<folder>]"
        ),
    ),
]
ServedName = Annotated[
    str,
    Field(
        pattern=SERVED_NAME,
        max_length=255,
        json_schema_extra=must(
            "be letters, digits and . _ : / @ -, and begin and end with a letter or digit"
        ),
    ),
]
DnsLabel = Annotated[
    str,
    Field(
        pattern=DNS_LABEL,
        max_length=63,
        json_schema_extra=must(
            "be lower-case letters, digits and '-', and begin and end with a letter or digit"
        ),
    ),
]
Quantity = Annotated[
    str,
    Field(
        pattern=QUANTITY,
        max_length=16,
        json_schema_extra=must('be a quantity: for example "16Gi", "1500m" or "4"'),
    ),
]


class SecretKeyRef(ApiModel):
    """A key of a Secret in the ModelDeployment's own namespace."""

    name: str = Field(min_length=1, max_length=253)
    key: str = Field(min_length=1, max_length=253)


class Cache(ApiModel):
    claim_name: DnsLabel = Field(
        description="A PersistentVolumeClaim that keeps model files between pods."
    )
    keep_compiled: bool = Field(
        default=True,
        description="Keep what engines compile in a folder of the claim too, which they then write "
        "to; false for a claim that they must not or cannot write to.",
    )


class Model(ApiModel):
    model_config = ConfigDict(json_schema_extra=rules.validations(*rules.SOURCE))

    source: SourceText = Field(
        description="hf://<organisation>/<model>[@<revision>], oci://<image reference> or "
        "pvc://<claim>[/<folder>]."
    )
    name: ServedName | None = Field(
        default=None, description="The name that clients ask for; default: metadata.name."
    )
    aliases: list[ServedName] = Field(
        default_factory=list, max_length=16, description="Further names for clients."
    )
    auth_secret_ref: SecretKeyRef | None = Field(
        default=None, description="The hub's token; only the fetcher and the shape Job see it."
    )
    cache: Cache | None = None


ExtraArg = Annotated[
    str, Field(max_length=4096, json_schema_extra=rules.validations(*rules.EXTRA_ARG))
]


class EngineKind(str, Enum):
    VLLM = "vLLM"


class DType(str, Enum):
    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class KvCacheDType(str, Enum):
    AUTO = "auto"
    FP8 = "fp8"


EngineProfileName = Annotated[
    DnsLabel,
    Field(description="An engine profile of the chart's values; auto follows the accelerator."),
]
EngineImage = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=512,
        description="Overrides the engine profile's image. A digest or a version, never latest.",
        json_schema_extra=rules.validations(*rules.IMAGE),
    ),
]


class Runtime(ApiModel):
    engine: EngineKind = EngineKind.VLLM
    engine_profile: EngineProfileName = "auto"
    image: EngineImage = None
    dtype: DType = DType.AUTO
    kv_cache_dtype: KvCacheDType = KvCacheDType.AUTO
    max_model_len: Tokens | Auto = Field(
        default="auto", description="Context length in tokens; auto: the longest that fits."
    )
    min_concurrency: Sequences = Field(
        default=1, description="Sequences of the full context that must fit at once."
    )
    max_num_seqs: Sequences | Auto = Field(default="auto", description="Sequences in one batch.")
    max_num_batched_tokens: Tokens | Auto = Field(default="auto", description="Tokens in one step.")
    extra_args: list[ExtraArg] = Field(
        default_factory=list,
        max_length=64,
        description="Passed to the engine as they are, after Berth's own flags; "
        "not those that Berth sets.",
    )


class Accelerator(ApiModel):
    profile: DnsLabel = Field(description="An accelerator profile of the chart.")
    gpus_per_replica: Gpus | Auto = "auto"


class Parallelism(ApiModel):
    tensor: Gpus | Auto = Field(default="auto", description="Tensor-parallel size.")
    pipeline: Gpus | Auto = Field(default="auto", description="Pipeline-parallel size.")


class Sharing(str, Enum):
    EXCLUSIVE = "Exclusive"
    SHARED = "Shared"
    PARTITIONED = "Partitioned"


class Memory(ApiModel):
    gpu_memory_fraction: str = Field(
        default="auto",
        pattern=FRACTION,
        max_length=5,
        description="Share of each GPU's memory for this engine, as a decimal; auto: planned.",
        json_schema_extra=must(
            'be "auto" or a decimal above 0 and at most 1, in quotes: for example "0.9"'
        ),
    )
    sharing: Sharing = Sharing.EXCLUSIVE


class Resources(ApiModel):
    """Host resources of a runtime pod; auto values come from the plan."""

    cpu: Quantity | None = None
    memory: Quantity | None = None


class ScalingMode(str, Enum):
    FIXED = "Fixed"
    EXTERNAL = "External"
    AUTO = "Auto"


class Scaling(ApiModel):
    model_config = ConfigDict(json_schema_extra=rules.validations(*rules.REPLICA_BOUNDS))

    mode: ScalingMode = Field(
        default=ScalingMode.FIXED,
        description="Fixed and External obey spec.replicas; Auto follows the queue.",
    )
    min_replicas: int = Field(default=0, ge=0, le=MAX_REPLICAS)
    max_replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS)
    target_queue_depth: QueueDepth | Auto = Field(
        default="auto", description="Requests per replica, running and waiting."
    )
    scale_down_delay_seconds: int = Field(default=60, ge=0, le=86_400)
    headroom: int = Field(
        default=1,
        ge=0,
        le=10,
        description="Replicas that one busy replica has beside it for bursts, under Auto; less "
        "with many replicas, which have their room in each other.",
    )

    @property
    def sleeps(self) -> bool:
        """Whether the last replica goes too, once it has been idle for spec.keepAlive."""
        return self.mode is ScalingMode.AUTO and self.min_replicas == 0


class Queue(ApiModel):
    max_pending: int = Field(
        default=512, ge=0, le=MAX_QUEUED_REQUESTS, description="Requests held."
    )
    max_wait_seconds: int = Field(default=600, ge=1, le=3600)


class RoutingPolicy(str, Enum):
    LEAST_IN_FLIGHT = "LeastInFlight"
    PREFIX_AWARE = "PrefixAware"


class Routing(ApiModel):
    policy: RoutingPolicy = Field(
        default=RoutingPolicy.LEAST_IN_FLIGHT,
        description="LeastInFlight; PrefixAware: prompts that begin alike go to one replica, until "
        "it is the busier one by far.",
    )


class RolloutStrategy(str, Enum):
    ROLLING_UPDATE = "RollingUpdate"
    RECREATE = "Recreate"


class Rollout(ApiModel):
    strategy: RolloutStrategy = RolloutStrategy.ROLLING_UPDATE
    hold_requests: bool = True
    revision_history_limit: int = Field(default=5, ge=1, le=50)
    drain_timeout_seconds: int = Field(
        default=300, ge=1, le=MAX_DRAIN_SECONDS, description="For streams in flight."
    )


class EnvVar(ApiModel):
    name: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        max_length=253,
        json_schema_extra=must("be letters, digits and '_', and not begin with a digit"),
    )
    value: str = Field(default="", max_length=4096)


class LocalObjectRef(ApiModel):
    name: str = Field(min_length=1, max_length=253)


class Toleration(ApiModel):
    key: str | None = Field(default=None, max_length=316)
    operator: Literal["Exists", "Equal"] | None = None
    value: str | None = Field(default=None, max_length=63)
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class PodTemplate(ApiModel):
    """What a cluster's rules may ask of every pod of this model, fetchers and Jobs included."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32)
    runtime_class_name: str | None = Field(default=None, max_length=253)
    image_pull_secrets: list[LocalObjectRef] = Field(default_factory=list, max_length=16)
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=64,
        description="For every container, for example HF_ENDPOINT or HTTPS_PROXY.",
    )
    priority_class_name: str | None = Field(default=None, max_length=253)
    annotations: dict[str, str] = Field(default_factory=dict)


class Adapter(ApiModel):
    """A LoRA adapter of the model, loaded when it is first asked for."""

    model_config = ConfigDict(json_schema_extra=rules.validations(*rules.ADAPTER))

    name: ServedName = Field(description="The name that clients ask for.")
    source: SourceText = Field(
        description="hf://<organisation>/<adapter>[@<revision>] or pvc://<claim>[/<folder>]."
    )


def _number(pattern: str, said: str, example: str) -> Any:
    """A decimal in quotes, for the API has no floats."""
    return Field(
        default=None,
        pattern=pattern,
        max_length=MAX_NUMBER_CHARACTERS,
        json_schema_extra=must(f'be a decimal {said}, in quotes: for example "{example}"'),
    )


class Sampling(ApiModel):
    """A field's name in snake case is that of the request's field, in OpenAI's and vLLM's API."""

    max_tokens: Tokens | None = Field(default=None, description="Of an answer.")
    temperature: str | None = _number(DECIMAL, "from 0 to below 100", "0.7")
    top_k: int | None = Field(default=None, ge=0, le=MAX_TOP_K, description="0: all tokens.")
    top_p: str | None = _number(POSITIVE_PROPORTION, "above 0 and at most 1", "0.9")
    min_p: str | None = _number(PROPORTION, "from 0 to 1", "0.05")
    repetition_penalty: str | None = _number(POSITIVE, "above 0 and below 100", "1.1")
    presence_penalty: str | None = _number(PENALTY, "from -2 to 2", "0.5")
    frequency_penalty: str | None = _number(PENALTY, "from -2 to 2", "0.5")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    stop: list[Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]] = Field(
        default_factory=list, max_length=MAX_STOPS, description="Texts that end an answer."
    )


class Message(ApiModel):
    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=MAX_MESSAGE_CHARACTERS)


class Defaults(ApiModel):
    """What differs between models that have one engine."""

    system: str | None = Field(
        default=None,
        max_length=MAX_SYSTEM_CHARACTERS,
        description="The system message of chats that have none.",
    )
    messages: list[Message] = Field(
        default_factory=list,
        max_length=MAX_MESSAGES,
        description="A chat's first messages, after the system message.",
    )
    parameters: Sampling = Field(default_factory=Sampling)
    adapter: ServedName | None = Field(
        default=None,
        description="One of spec.adapters, by name, for requests that ask for the model itself.",
    )


class Spec(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules.validations(*rules.UNSERVED, *rules.POOLED, *rules.ADAPTED)
    )

    model: Model
    runtime: Runtime = Field(default_factory=Runtime)
    accelerators: list[Accelerator] = Field(
        default_factory=list, max_length=8, description="In order of preference."
    )
    parallelism: Parallelism = Field(default_factory=Parallelism)
    memory: Memory = Field(default_factory=Memory)
    resources: Resources = Field(default_factory=Resources)
    replicas: int = Field(
        default=1,
        ge=0,
        le=MAX_REPLICAS,
        description="Obeyed by scaling.mode Fixed and External; the scale subresource writes it.",
    )
    scaling: Scaling = Field(default_factory=Scaling)
    keep_alive: str | None = Field(
        default=None,
        pattern=KEEP_ALIVE,
        max_length=16,
        description="Idle time until the last replica goes, or until a pool unloads the model: "
        '"5m", seconds, "0", or "-1".',
        json_schema_extra=must('be a duration: for example "5m", "300", "0", or "-1" for ever'),
    )
    pool: DnsLabel | None = Field(
        default=None, description="A ModelPool of this namespace whose accelerators it shares."
    )
    priority: int | None = Field(
        default=None,
        ge=-1_000_000,
        le=1_000_000,
        description="In its pool: who waits is served, and who is resident stays, by it; "
        "default 0.",
    )
    evictable: bool | None = Field(
        default=None,
        description="In its pool: false leaves it loaded until its keepAlive is over; default "
        "true.",
    )
    queue: Queue = Field(default_factory=Queue)
    routing: Routing = Field(default_factory=Routing)
    rollout: Rollout = Field(default_factory=Rollout)
    pod_template: PodTemplate = Field(default_factory=PodTemplate)
    adapters: list[Adapter] = Field(
        default_factory=list,
        max_length=MAX_ADAPTERS,
        description="LoRA adapters, each a model of its own to clients.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    defaults: Defaults | None = Field(
        default=None,
        description="Applied by the gateway to requests that do not set them; a change restarts "
        "no engine.",
    )
    paused: bool = Field(
        default=False,
        description="The operator leaves the children alone, and a pool the model's engine.",
    )
