"""The types of an ASGI application (https://asgi.readthedocs.io/en/latest/specs/main.html)."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Under this name our own server offers a `Direct` among the scope's extensions.
DIRECT: Final = "berth.direct"


class Source(Protocol):
    """Where an answer's bytes come from."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Direct(Protocol):
    """What ASGI has only coroutines for, without one for each piece of a stream.

    Any other server has none of this, and the application then does with `send` and `receive`.
    """

    task: asyncio.Task[None]  # the one that the application runs in
    on_left: Callable[[], None] | None  # called when it leaves

    @property
    def arrived(self) -> bool:
        """The request's whole body is here."""

    @property
    def left(self) -> bool:
        """The client is gone, before the answer's end."""

    @property
    def writable(self) -> bool:
        """The client is there and keeps up, so that a piece can be said without waiting."""

    def take_body(self) -> bytes:
        """The request's, once it has `arrived`."""

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The answer's head."""

    def say(self, chunk: bytes, *, more: bool) -> None:
        """A piece of the body, the last one unless there is `more`; only while `writable`."""

    def write(self, chunk: bytes) -> None:
        """A piece of the body from a source that is attached. Never waits and never raises."""

    def attach(self, source: Source | None) -> None:
        """Who is to be paused while the client does not keep up."""
