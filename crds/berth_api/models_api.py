"""What gateways ask of the operator's models API: Ollama's requests, with their names looked up.

A gateway knows which names lead to which models and what a key's holder may do; the operator may
write. So the gateway judges a request and looks its names up, and the operator carries it out.
"""

from enum import Enum
from typing import Any

from pydantic import Field

from berth_api.spec import ApiModel


class Verb(str, Enum):
    """The paths, which are Ollama's own; every one takes POST here."""

    CREATE = "/api/create"
    PULL = "/api/pull"
    COPY = "/api/copy"
    DELETE = "/api/delete"


class Place(ApiModel):
    """A ModelDeployment that was there when a gateway looked."""

    namespace: str
    name: str
    uid: str


class ModelOrder(ApiModel):
    """One request of a client whose key may manage models."""

    name: str = Field(description="As the client calls it, without :latest.")
    place: Place | None = Field(default=None, description="What this name leads to, if anything.")
    source: Place | None = Field(default=None, description="What FROM or copy's source leads to.")
    stream: bool = True
    document: dict[str, Any] = Field(default_factory=dict, description="Of create: its fields.")
