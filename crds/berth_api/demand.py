"""What a gateway tells the operator: who waits and what is in flight.

`GET /demand` on the gateway's management port is NDJSON: the whole state on every line, so that a
lost line, a restarted gateway or a new leader needs no history. A line is sent when something
changed, at most every COALESCE_SECONDS, and every HEARTBEAT_SECONDS without a change: a stream
that is silent for longer is dead.

Both directions cross versions, as in `berth_api.server`: fields are only added.
"""

from typing import Annotated, Final

from pydantic import Field

from berth_api.server import Wire

PROTOCOL: Final = 1
COALESCE_SECONDS: Final = 0.1
HEARTBEAT_SECONDS: Final = 1.0
CONTENT_TYPE: Final = "application/x-ndjson"

Count = Annotated[int, Field(ge=0)]
"""Of requests. What is below zero is no count, and its line is not believed."""


class ModelDemand(Wire):
    """One ModelDeployment at one gateway. Counters only grow, and start at 0 with the gateway."""

    namespace: str
    model: str = Field(description="metadata.name.")
    held: Count = Field(default=0, description="Requests that wait in the gateway for a replica.")
    oldest_held_seconds: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="How long the first of them has."
    )
    in_flight: dict[str, Count] = Field(
        default_factory=dict, description="Requests, by pod uid; in a pool by names.pool_endpoint."
    )
    arrivals: Count = Field(default=0, description="Requests let in, counted.")
    answered: Count = Field(default=0, description="Answers ended, counted; not those that failed.")
    keep_alive_seconds: float | None = Field(
        default=None,
        ge=-1,
        allow_inf_nan=False,
        description="What the last Ollama request asked for this load of the model, or a longer "
        "ttl or keep_alive of an OpenAI request; -1 for ever; None: the model's own.",
    )
    idle_seconds: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Since a request last arrived or ended; None: none yet.",
    )
    asked_seconds: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Since a request last arrived; None: none yet, or an older gateway.",
    )


class Demand(Wire):
    """One line: every model that this gateway has held, forwarded or counted something for."""

    protocol: int = PROTOCOL
    gateway: str = Field(description="Of this process; another one after a restart.")
    synced: bool = Field(description="Whether the gateway has seen the cluster.")
    models: list[ModelDemand] = Field(default_factory=list)
