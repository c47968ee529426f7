"""What is known of a model before it is loaded: the shape Job's answer to the operator.

The Job runs where the credentials are and reads only `config.json` and the safetensors headers.
It hands back facts, not conclusions; `berth_operator.core.shape` reads them into the planner's
type, so that a newer Berth understands an older answer better without fetching again.
"""

from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


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


class Failure(BaseModel):
    """Why something ended, and what to do about it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reason: str = Field(description="A condition reason, for example GatedModel.")
    message: str = Field(description="What happened, with the values that matter.")
    fix: str = Field(default="", description="What the user can change.")


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
    tensorBytes: dict[str, int] = Field(  # noqa: N815 -- the wire's spelling
        default_factory=dict, description="Bytes of all tensors by safetensors dtype (BF16, ...)."
    )
    tensorCount: int = Field(default=0, description="Number of tensors.")  # noqa: N815
    fileBytes: int = Field(  # noqa: N815
        default=0, description="Bytes of the files that will be fetched."
    )
    failure: Failure | None = Field(default=None, description="Set when the shape was not read.")
