"""What `decide` returns: data, to be executed, printed, or compared with a golden file."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from berth_operator.core.observed import Object, Remembered
from berth_operator.core.planner.learned import Record


class EventType(str, Enum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event on the ModelDeployment; the recorder drops repetitions."""

    type: EventType
    reason: str
    message: str


@dataclass(frozen=True)
class Deletion:
    """Deletes one object, and only the very one that was seen."""

    api_version: str
    kind: str
    name: str
    uid: str

    @classmethod
    def of(cls, seen: Object) -> "Deletion":
        meta = seen["metadata"]
        return cls(seen["apiVersion"], seen["kind"], meta["name"], meta["uid"])


@dataclass(frozen=True)
class Attention:
    """Which changes of the load ask for a look at once; all others wait for a moment."""

    capacity: int | None = None  # requests that the wanted replicas take; None: the user sizes it
    engines: bool = False  # whether what the engines themselves tell is needed


@dataclass(frozen=True)
class Patch:
    """Changes one object, and only the very one that was seen.

    `changes` is a JSON merge patch: keys with None go, others are set.
    """

    api_version: str
    kind: str
    name: str
    uid: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The next step for one ModelDeployment. An empty one means: at rest."""

    patch: tuple[Patch, ...] = ()  # before the applies: a pod is marked before it is given up
    apply: tuple[dict[str, Any], ...] = ()  # by server-side apply
    delete: tuple[Deletion, ...] = ()  # after the applies
    status: dict[str, Any] | None = None  # the whole status; None leaves it
    events: tuple[Event, ...] = ()
    look_again_seconds: float | None = None  # without any event until then
    learn: tuple[Record, ...] = ()  # before all else: a status is not told twice
    poll: tuple[str, ...] = field(default=())  # uids of pods whose /status the next look needs
    remember: Remembered = field(default_factory=Remembered)  # for the next look
    attention: Attention | None = None  # None: the load makes no difference
