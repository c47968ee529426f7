"""What is decided of a pool, each part with its reason: for orders, for routes and for status."""

from dataclasses import dataclass
from typing import Literal

from berth_api.quantity import format_bytes

WishReason = Literal[
    "Held",  # requests wait for it
    "Pinned",
    "RollOut",  # it supersedes one that is resident
]

KeepReason = Literal[
    "Loading",
    "Busy",
    "Paused",  # a model of its is
    "Pinned",
    "Idle",  # until its keep-alive is over, or its room is wanted
    "PodNotReady",  # its pod takes no orders, so it is left as it is
]

LeaveReason = Literal[
    "PodGone",
    "Failed",
    "Unknown",  # no engine of the pool has this id
    "Duplicate",  # it is resident elsewhere too
    "Superseded",  # its successor serves
    "Unused",  # no model's spec asks for it any more
    "Unloaded",
    "KeepAliveOver",
    "Oversized",  # its pod's cards have no room for it beside the others any more
    "Idle",  # evicted
    "Starved",  # evicted while busy
    "GivesWay",  # evicted: by its own successor, or before its load began and wanted by nobody
    "Draining",  # as decided before
]

WaitReason = Literal[
    "BackOff",  # it failed
    "NoPod",  # no pod that could hold it takes orders now
    "MinimumResidency",
    "Loading",  # what has the room is being loaded
    "Busy",
    "Draining",  # it has to be gone itself from other cards of the same pod
    "NotItsTurn",  # what has the room is about to serve requests that have waited longer
    "Priority",
    "NotEvictable",
    "Paused",
    "Pinned",
    "Reserved",  # the room is kept for one that has waited longer
]


@dataclass(frozen=True)
class Kept:
    because: KeepReason
    until: float | None = None  # by its keep-alive


@dataclass(frozen=True)
class Loads:
    """`instead_of` are engines that were told to go for it, as far as it was decided just now."""

    because: WishReason
    instead_of: tuple[str, ...] = ()
    undrained: bool = False  # it was on its way out, and is not loaded anew


@dataclass(frozen=True)
class Wanted:
    """An engine that a pod is to hold."""

    engine: str
    cards: tuple[int, ...]
    card_bytes: int  # its share of each
    why: Kept | Loads
    routed: bool  # whether it may be sent requests


@dataclass(frozen=True)
class PodOrders:
    """All that a pod is to hold; what it has beside it drains and goes."""

    pod: str
    engines: tuple[Wanted, ...]


@dataclass(frozen=True)
class Leaves:
    """A resident that is closed to new requests, finishes those it has, and goes."""

    engine: str
    pod: str
    because: LeaveReason
    room_for: str | None = None  # the engine that it is evicted for

    @property
    def message(self) -> str:
        room = f", for {self.room_for}" if self.room_for else ""
        return f"{_LEAVES.get(self.because, self.because)}{room}"


@dataclass(frozen=True)
class Waits:
    engine: str
    because: WaitReason
    behind: tuple[str, ...] = ()  # engines that have the room, or that it is kept for
    until: float | None = None  # at most, by time alone; None: no time ends it
    expected: float | None = None  # when its room is likely to be there

    @property
    def message(self) -> str:
        return _WAITS[self.because].format(", ".join(self.behind))


@dataclass(frozen=True)
class Refused:
    """No pod of the pool could hold it, however empty."""

    engine: str
    wanted_bytes: int  # of each card
    wanted_cards: int
    most_bytes: int  # of the smallest card, where the pool has so many in one pod
    most_cards: int  # in one pod

    @property
    def message(self) -> str:
        if self.wanted_cards > self.most_cards:
            return f"needs {self.wanted_cards} cards in one pod; the pool's have {self.most_cards}"
        missing = format_bytes(self.wanted_bytes - self.most_bytes)
        cards = "a card" if self.wanted_cards == 1 else f"each of {self.wanted_cards} cards"
        wanted, most = format_bytes(self.wanted_bytes), format_bytes(self.most_bytes)
        return f"needs {wanted} of {cards}; the pool's largest have {most}, {missing} too little"

    @property
    def fix(self) -> str:
        if self.wanted_cards > self.most_cards:
            return f"tensor: {self.most_cards}, or a pool whose pods have {self.wanted_cards} cards"
        missing = format_bytes(self.wanted_bytes - self.most_bytes)
        return (
            f"a share that is {missing} smaller (a shorter context, fewer sequences, a quantised "
            f"model, more ranks), or a pool whose cards have {format_bytes(self.wanted_bytes)}"
        )


@dataclass(frozen=True)
class Decision:
    pods: tuple[PodOrders, ...]
    leaves: tuple[Leaves, ...]
    waits: tuple[Waits | Refused, ...]
    look_again_seconds: float | None  # when time alone may decide otherwise; None: it never does


_LEAVES = {
    "PodGone": "its pod goes",
    "Failed": "it failed",
    "Unknown": "the pool has no such engine",
    "Duplicate": "it is resident in another pod too",
    "Superseded": "what supersedes it serves",
    "Unused": "no model asks for it any more",
    "Unloaded": "it was unloaded by name",
    "KeepAliveOver": "nobody asked for it for the whole of its keep-alive",
    "Oversized": "its cards have no room for it any more",
    "Idle": "evicted while idle",
    "Starved": "evicted while busy, because another waited too long",
    "GivesWay": "gives way",
    "Draining": "finishes what it has",
}
_WAITS = {
    "BackOff": "it failed and is tried again later",
    "NoPod": "no pod that could hold it takes orders",
    "MinimumResidency": "{} came a moment ago, and nothing is swapped so soon",
    "Loading": "{} is being loaded",
    "Busy": "{} is busy",
    "Draining": "{} finishes what it has where it was",
    "NotItsTurn": "{} has requests that have waited longer",
    "Priority": "{} has a higher priority",
    "NotEvictable": "{} is not to be evicted",
    "Paused": "{} is left as it is by spec.paused",
    "Pinned": "{} is pinned",
    "Reserved": "the room is kept for {}, which has waited longer",
}
