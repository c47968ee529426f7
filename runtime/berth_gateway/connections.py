"""How many connections clients have, and which of them end when there are too many.

One that asks nothing costs memory and a file descriptor all the same. So the longest idle gives way
to a new one: whoever opens thousands and leaves them so locks nobody out. Where none is idle the
new one is turned away.
"""

import asyncio
import resource
from typing import Final, Protocol

# For listeners, the management port, watches of the API server, logs, and those turned away.
RESERVED_DESCRIPTORS: Final = 256
_EACH: Final = 2  # descriptors: a client's connection, and one to an engine for its request
LINGER_SECONDS: Final = 1.0  # for a client that is turned away to read why
MAX_LINGERING: Final = 64  # at once; more are cut off without a word


class Closable(Protocol):
    def give_way(self) -> None:
        """End the connection, which is idle."""


class Connections:
    """Those that are open, and the idle among them, the longest idle first."""

    def __init__(self, most: int, most_idle: int) -> None:
        self._most = most
        self._most_idle = max(most_idle, 1)  # each begins as one
        self._open: set[Closable] = set()
        self._idle: dict[Closable, None] = {}
        self._lingering: set[TurnedAway] = set()

    def opened(self, one: Closable) -> bool:
        """Whether there is room for it; it is idle then until it `works`."""
        if len(self._open) >= self._most and not self._end_longest_idle():
            return False
        self._open.add(one)
        self.rests(one)
        return True

    def works(self, one: Closable) -> None:
        """Its client waits for an answer."""
        self._idle.pop(one, None)

    def rests(self, one: Closable) -> None:
        """It has no request, or is still sending its header."""
        if one in self._open:
            self._idle[one] = None
            if len(self._idle) > self._most_idle:
                self._end_longest_idle()

    def closed(self, one: Closable) -> None:
        self._open.discard(one)
        self._idle.pop(one, None)

    def turn_away(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Say why and end; whoever has sent something is not to get a reset instead."""
        if len(self._lingering) >= MAX_LINGERING:
            transport.abort()
            return
        transport.set_protocol(TurnedAway(transport, self._lingering))
        transport.write(answer)
        transport.write_eof()

    def _end_longest_idle(self) -> bool:
        one = next(iter(self._idle), None)
        if one is None:
            return False
        self.closed(one)
        one.give_way()
        return True


class TurnedAway(asyncio.Protocol):
    """Reads what its client still sends, and forgets it: a close with bytes unread is a reset."""

    def __init__(self, transport: asyncio.Transport, lingering: "set[TurnedAway]") -> None:
        self._lingering = lingering
        lingering.add(self)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(LINGER_SECONDS, transport.abort)

    def connection_lost(self, _error: Exception | None) -> None:
        self._deadline.cancel()
        self._lingering.discard(self)


def room(most: int) -> int:
    """How many of `most` connections this process has file descriptors for, of all it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(most, max(hard - RESERVED_DESCRIPTORS, _EACH) // _EACH)
