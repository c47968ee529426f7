"""What the operator tells a pool's pod: how to be one, and which engines to hold.

A room of its own beside `server`, whose dedicated pod is told everything once, when it is made; a
pool's pod is told again and again. It answers with `server.PodStatus`.
"""

from pydantic import Field

from berth_api import names
from berth_api.server import PROTOCOL, CompiledConfig, EngineConfig, Wire

# Orders of the most engines that cards hold, with every field in use, are a twentieth of it.
MAX_ORDERS_BYTES = 2**20
# RFC 1123: an id becomes a file's name and a word of the log.
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
# A key crosses in an HTTP header.
_HEADER_WORD = r"^[!-~]+$"


class PoolConfig(Wire):
    """ENV_POOL_CONFIG of a pool's pod."""

    protocol: int = PROTOCOL
    namespace: str
    pool: str = Field(description="The pool's name.")
    device: str = Field(description="cuda, rocm or cpu.")
    cards: int = Field(ge=0, description="Accelerators of this pod; 0 on CPU.")
    memory_bytes: int | None = Field(
        default=None, gt=0, description="CPU: what engines may share; else the driver says it."
    )
    command: list[str] = Field(min_length=1, description="The image's command before any flag.")
    env: dict[str, str] = Field(default_factory=dict, description="Engine profile's variables.")
    status_port: int
    pool_key_file: str = Field(description="The key that orders are signed with.")
    run_dir: str = Field(default=names.DIR_RUN, description="Where engine keys are written.")
    drain_timeout_seconds: int = Field(description="After SIGTERM, for streams in flight.")
    warm: bool = Field(default=True, description="Keep a process with the imports done.")
    compiled: CompiledConfig | None = Field(default=None, description="None: nothing is kept.")


class EngineOrder(Wire):
    """One engine that the pod is to hold."""

    id: str = Field(pattern=_DNS_LABEL, description="Its identity: a revision's hash.")
    attempt: int = Field(default=0, ge=0, description="A failed engine is started if it grew.")
    config: EngineConfig
    key: str = Field(pattern=_HEADER_WORD, repr=False, description="The engine key: secret.")
    cards: list[int] = Field(default_factory=list, description="Indexes in this pod; [] on CPU.")
    memory_bytes: int = Field(gt=0, description="Share of each of its cards, or of the pod's.")
    max_queued_requests: int = Field(gt=0, description="Running and waiting; more is 429.")
    stall_timeout_seconds: int = Field(gt=0)
    start_timeout_seconds: int = Field(gt=0)
    expected_start_seconds: int | None = Field(default=None, description="For estimates.")


class EngineOrders(Wire):
    """`PUT /engines`: the whole wanted state, so that a repetition changes nothing."""

    protocol: int = PROTOCOL
    sequence: int = Field(ge=0, description="Grows with each decision; an older one is refused.")
    engines: list[EngineOrder]
