"""How a client waits for an endpoint, and what it is told meanwhile and at the end.

Nothing is sent until there is something to say: a refusal then has its own status and headers. A
stream is the exception after a while, for proxies and clients end connections that stay silent: it
begins with comments, which every reader of server-sent events skips.
"""

import random
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from math import ceil
from typing import Final

from berth_gateway.client import Exchange
from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing.admission import MAX_RETRY_SECONDS, Reason, Refused, retry_after
from berth_gateway.routing.prefix import Affinity
from berth_gateway.routing.snapshot import Model
from berth_gateway.state.queues import Held, Place, Queues

COMMENT_SECONDS: Final = 15  # half of the shortest idle time-outs in use
LEAVING_RETRY_SECONDS: Final = 1  # another gateway is there already
_HELD_SECONDS: Final = b"x-berth-held-seconds"

_KINDS: Final = {
    Reason.QUEUE_FULL: Kind.QUEUE_FULL,
    Reason.GATEWAY_FULL: Kind.GATEWAY_FULL,
    Reason.NOTHING_TO_COME: Kind.NOT_READY,
    Reason.REPLACING: Kind.NOT_READY,
    Reason.WAITED: Kind.NOT_READY,
    Reason.VANISHED: Kind.MODEL_NOT_FOUND,
    Reason.LEAVING: Kind.LEAVING,
}


class Waiting:
    def __init__(
        self,
        queues: Queues,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        comment_seconds: float = COMMENT_SECONDS,
    ) -> None:
        self._queues = queues
        self._clock = clock
        self._chance = chance
        self._comment_seconds = comment_seconds

    async def place(
        self,
        model: Model,
        exchange: Exchange,
        size: int,
        asked: Affinity | None,
        *,
        streams: bool,
        excluded: AbstractSet[str] = frozenset(),
    ) -> Place:
        """Wait for one. Refusal when there is none in time or none to come."""
        held = self._queues.hold(model, size, asked, exchange.held_since, excluded)
        if isinstance(held, Refused):
            raise self._refusal(model, held, exchange)
        exchange.held_since = held.since
        while True:
            outcome = await self._queues.wait(held, self._comment_seconds)
            if isinstance(outcome, Place):
                self._tell_held(exchange)
                return outcome
            if isinstance(outcome, Refused):
                raise self._refusal(model, outcome, exchange)
            if streams:
                await self._comment(held, exchange)

    async def _comment(self, held: Held, exchange: Exchange) -> None:
        try:
            if exchange.status is None:
                exchange.commented = True
                self._tell_held(exchange)
                await exchange.begin(200, self._stream_head(held.model))
            await exchange.say(self._words(held.model), more=True)
        except BaseException:
            self._queues.forget(held)
            raise

    def _stream_head(self, model: Model) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            *self._told(model),
        ]

    def _told(self, model: Model) -> list[tuple[bytes, bytes]]:
        """How far the model is, as the operator and this gateway know it."""
        phase, seconds = self._queues.current(model).phase, self._queues.estimate(model)
        headers = [] if phase is None else [(b"x-berth-phase", phase.encode())]
        if seconds is not None:
            headers.append((b"x-berth-eta-seconds", b"%d" % ceil(seconds)))
        return headers

    def _tell_held(self, exchange: Exchange) -> None:
        """How long in all; a request that was held before has said so before."""
        since = exchange.held_since
        if since is not None:
            exchange.held_seconds = self._clock() - since
            others = [one for one in exchange.extra or () if one[0] != _HELD_SECONDS]
            exchange.extra = [*others, (_HELD_SECONDS, b"%d" % int(exchange.held_seconds))]

    def _words(self, model: Model) -> bytes:
        phase, seconds = self._queues.current(model).phase, self._queues.estimate(model)
        words = f": waiting for {model.name}"
        words += f": phase {phase}" if phase else ""
        words += f", about {ceil(seconds)} s" if seconds is not None else ""
        return f"{words}\n\n".encode()

    def _refusal(self, model: Model, refused: Refused, exchange: Exchange) -> Refusal:
        exchange.extra = [*(exchange.extra or ()), *self._told(model)]
        self._tell_held(exchange)
        return Refusal(
            _KINDS[refused.reason],
            refused.message,
            param="model" if refused.reason is Reason.VANISHED else None,
            retry_after_seconds=self._retry_after(model, refused.reason),
        )

    def _retry_after(self, model: Model, reason: Reason) -> int | None:
        if reason is Reason.VANISHED:
            return None
        if reason is Reason.LEAVING:
            return LEAVING_RETRY_SECONDS
        hopeless = reason is Reason.NOTHING_TO_COME
        seconds = MAX_RETRY_SECONDS if hopeless else self._queues.estimate(model)
        return retry_after(seconds, self._chance())
