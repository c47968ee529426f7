"""What is known of a model before it is loaded: the shape Job's answer to the operator.

The Job runs where the credentials are and reads only `config.json` and the safetensors headers.
It hands back facts, not conclusions; `berth_operator.core.model` reads them into the planner's
type, so that a newer Berth understands an older answer better without fetching again.
"""

from enum import Enum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

# Above any checkpoint, and the most that JSON's numbers count exactly.
MOST_BYTES: Final = 2**53
Count = Annotated[int, Field(ge=0, le=MOST_BYTES)]


class FetchError(str, Enum):
    """Why a model's files cannot be had. Values are condition reasons."""

    NOT_FOUND = "NotFound"
    GATED = "GatedModel"
    AUTH_FAILED = "AuthFailed"
    NO_SAFETENSORS = "NoSafetensors"
    CONFIG_UNREADABLE = "ConfigUnreadable"
    NO_SPACE = "NoSpace"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    UNREACHABLE = "SourceUnreachable"


class Short(str, Enum):
    """At which step of its start an engine found too little memory."""

    STARTING = "Starting"  # before any weight: something else holds the accelerator
    LOADING = "Loading"  # weights, or the profile run: the KV cache had no size yet
    KV_CACHE = "KVCache"  # it knew what was left for the KV cache, and that is too little
    RUNNING = "Running"  # after the KV cache was made: graphs, sampler, requests
    HOST = "Host"  # the host's memory, not the accelerator's


class Shortage(BaseModel):
    """The numbers behind a failure for memory, as the engine printed them. Bytes of one rank.

    None is unknown. vLLM prints GiB with two digits: each number is off by up to 5 MiB.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True
    )

    step: Short
    needed_bytes: int | None = Field(default=None, description="Asked for.")
    available_bytes: int | None = Field(
        default=None, description="There for it; below 0 where weights took more than all."
    )
    total_bytes: int | None = Field(default=None, description="Of the accelerator.")
    longest_tokens: int | None = Field(
        default=None, description="The context that the engine says would fit."
    )


class Failure(BaseModel):
    """Why something ended, and what to do about it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reason: str = Field(description="A condition reason, for example GatedModel.")
    message: str = Field(description="What happened, with the values that matter.")
    fix: str = Field(default="", description="What the user can change.")
    shortage: Shortage | None = Field(default=None, description="Where memory was the reason.")


class ShapeReport(BaseModel):
    """The shape Job's termination message, as JSON of at most 4096 bytes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    commit: str = Field(
        default="",
        description="The immutable revision: a hub commit, an image digest, or a content hash.",
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="The keys of config.json that decide memory."
    )
    tensorBytes: dict[str, Count] = Field(  # noqa: N815 -- the wire's spelling
        default_factory=dict, description="Bytes of all tensors by safetensors dtype (BF16, ...)."
    )
    parts: dict[str, dict[str, Count]] = Field(
        default_factory=dict,
        description="The same bytes by part (linear, experts, ...) and dtype; kept: before a dtype "
        "marks what is held as it is, whatever dtype is served. Empty where only totals are known.",
    )
    tensorCount: Count = Field(default=0, description="Number of tensors.")  # noqa: N815
    fileBytes: Count = Field(  # noqa: N815
        default=0, description="Bytes of the files that will be fetched."
    )
    failure: Failure | None = Field(default=None, description="Set when the shape was not read.")
