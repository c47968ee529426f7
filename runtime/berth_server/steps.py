"""What a pool's pod does next, from what it is to hold and what it holds. Pure.

An engine that starts profiles its card, and a neighbour that starts or ends meanwhile makes it
count wrongly (vllm#55827, #56830): starts and ends that share a card take turns. Draining changes
no memory and never waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from berth_server.ledger import Ledger, Share


class Stage(Enum):
    """Of an engine that the pod holds; it has a share in all of them but FAILED."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPING = "stopping"  # until its memory was seen to be free
    WITHHELD = "withheld"  # it has ended, and its memory is not free
    FAILED = "failed"  # remembered, so that the same attempt is not made again


class Do(Enum):
    START = "start"
    DRAIN = "drain"
    RESUME = "resume"  # serve again what was draining
    STOP = "stop"
    FORGET = "forget"
    WAIT = "wait"


@dataclass(frozen=True)
class Wanted:
    id: str
    share: Share
    port: int
    attempt: int = 0


@dataclass(frozen=True)
class Held:
    id: str
    share: Share
    port: int
    stage: Stage
    attempt: int = 0
    idle: bool = False  # drained: nothing is in flight

    @property
    def has_share(self) -> bool:
        return self.stage is not Stage.FAILED


@dataclass(frozen=True)
class Step:
    do: Do
    id: str
    why: str = ""  # of WAIT


@dataclass(frozen=True)
class Situation:
    """`free` are bytes by card as the driver counts them; none are known on CPU."""

    wanted: tuple[Wanted, ...]
    held: tuple[Held, ...]
    totals: Mapping[int, int]
    free: Mapping[int, int] | None = None


# Stages in which the memory of a card is moving.
_MOVING: Final = {
    Stage.STARTING: "a start on {} is under way",
    Stage.STOPPING: "the end of an engine on {} is under way",
}


def next_steps(now: Situation) -> tuple[Step, ...]:
    """In the order in which they are to be taken; one WAIT for each engine that has to."""
    turns = _Turns(now)
    wanted = {one.id: one for one in now.wanted}
    leaving = [step for held in now.held for step in turns.leave(held, wanted.get(held.id))]
    held = {one.id: one for one in now.held}
    coming = [step for one in now.wanted for step in turns.come(one, held.get(one.id))]
    return (*leaving, *coming)


class _Turns:
    """One pass: what it hands out is taken before the next engine is looked at."""

    def __init__(self, now: Situation) -> None:
        self._free = now.free
        holders = [held for held in now.held if held.has_share]
        self._ports = {held.port: held.id for held in holders}
        self._ledger = Ledger(now.totals, tuple(held.share for held in holders))
        self._moving = {
            card: _MOVING[held.stage]
            for held in holders
            if held.stage in _MOVING
            for card in held.share.cards
        }

    def leave(self, held: Held, wanted: Wanted | None) -> list[Step]:
        """Of an engine that is no longer wanted."""
        if wanted is not None:
            return []
        if held.stage is Stage.SERVING:
            return [Step(Do.DRAIN, held.id)]
        if held.stage is Stage.FAILED:
            return [Step(Do.FORGET, held.id)]
        if held.stage is Stage.STARTING:  # there is no request to wait for
            return [Step(Do.STOP, held.id)]
        if held.stage is Stage.DRAINING and held.idle:
            return [self._stop(held)]
        return []

    def _stop(self, held: Held) -> Step:
        if why := self._busy(held.share):
            return Step(Do.WAIT, held.id, why)
        self._move(held.share, Stage.STOPPING)
        return Step(Do.STOP, held.id)

    def come(self, wanted: Wanted, held: Held | None) -> list[Step]:
        """Of an engine that is wanted."""
        if held is None or (held.stage is Stage.FAILED and held.attempt < wanted.attempt):
            return [self._start(wanted)]
        if held.stage is Stage.DRAINING:
            return [Step(Do.RESUME, wanted.id)]
        return []

    def _start(self, wanted: Wanted) -> Step:
        why = self._listened(wanted) or self._busy(wanted.share) or self._short(wanted.share)
        if why:
            return Step(Do.WAIT, wanted.id, why)
        self._ledger = self._ledger.granting(wanted.share)
        self._move(wanted.share, Stage.STARTING)
        return Step(Do.START, wanted.id)

    def _move(self, share: Share, stage: Stage) -> None:
        self._moving |= dict.fromkeys(share.cards, _MOVING[stage])

    def _listened(self, wanted: Wanted) -> str | None:
        other = self._ports.get(wanted.port)
        return f"port {wanted.port} is {other}'s until it has ended" if other else None

    def _busy(self, share: Share) -> str | None:
        card = next((card for card in share.cards if card in self._moving), None)
        return None if card is None else self._moving[card].format(self._place(card))

    def _short(self, share: Share) -> str | None:
        card = self._ledger.lacking(share)
        if card is not None:
            room = gib(self._ledger.room(card))
            return f"{self._place(card)} has {room} left to grant and {gib(share.size)} are wanted"
        free = self._free or {}
        card = next((card for card in share.cards if free.get(card, share.size) < share.size), None)
        if card is not None:
            return (
                f"{self._place(card)} has {gib(free[card])} free and {gib(share.size)} are wanted"
            )
        return None

    def _place(self, card: int) -> str:
        return "this pod" if self._free is None else f"card {card}"


def gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
