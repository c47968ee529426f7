"""The page's way to the models: the data path's own application, asked from the management port.

A browser lets a page ask its own origin only, which is the management port. So requests for models
come in here, and are answered by the very application of the data port, in its loop: the same keys,
limits, queues and counts. This loop only passes messages on, and is free for probes whatever the
other does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from berth_gateway.asgi import Message, Receive, Scope, Send
from berth_gateway.errors import Kind, Refusal

# For people who look at pages; programs have the data port, which has room for thousands.
MAX_REQUESTS: Final = 64

_BUSY: Final = Refusal(
    Kind.GATEWAY_FULL,
    f"{MAX_REQUESTS} requests are under way from this port already; programs ask the data port",
    retry_after_seconds=1,
)
_LEAVING: Final = Refusal(Kind.LEAVING, "this gateway is leaving", retry_after_seconds=1)
_FOREIGN: Final = Refusal(
    Kind.FOREIGN_ORIGIN, "this port answers its own page only, and no page of another origin"
)

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Given = TypeVar("Given")


class Bridge:
    def __init__(self, app: Application, loop: asyncio.AbstractEventLoop) -> None:
        """`app` runs in `loop`, whichever loop asks."""
        self._app = app
        self._loop = loop
        self._open = 0  # touched by the asking loop only
        self._carried: set[asyncio.Task[Any]] = set()  # touched by `loop` only
        self._leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(dict(scope["headers"]))
        if refusal is not None:
            await _refuse(refusal, send)
            return
        here = asyncio.get_running_loop()
        self._open += 1
        try:
            carried = self._carry(dict(scope), _across(here, receive), _across(here, send))
            await _in_loop(self._loop, carried)
        finally:
            self._open -= 1

    async def drained(self, seconds: float) -> None:
        """Takes no more requests, and waits for those under way. To be called in `loop`."""
        self._leaving = True
        if self._carried:
            await asyncio.wait(self._carried, timeout=seconds)

    def _refusal(self, headers: dict[bytes, bytes]) -> Refusal | None:
        if _is_foreign(headers):
            return _FOREIGN
        if self._leaving:
            return _LEAVING
        return _BUSY if self._open >= MAX_REQUESTS else None

    async def _carry(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- run_coroutine_threadsafe makes one
        self._carried.add(task)
        try:
            await self._app(scope, receive, send)
        finally:
            self._carried.discard(task)


def _is_foreign(headers: dict[bytes, bytes]) -> bool:
    """A browser says where a page is from; without keys any page could otherwise ask."""
    origin = headers.get(b"origin")
    if origin is None:
        return False
    return origin.partition(b"://")[2] != headers.get(b"host")


def _across(
    loop: asyncio.AbstractEventLoop, call: Callable[..., Awaitable[Given]]
) -> Callable[..., Awaitable[Given]]:
    """`call`, which belongs to `loop`, for callers in another."""

    async def ask(*arguments: Message) -> Given:
        async def told() -> Given:
            return await call(*arguments)

        given: Given = await _in_loop(loop, told())
        return given

    return ask


async def _in_loop(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    """What is cancelled in one loop is cancelled in the other."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


async def _refuse(refusal: Refusal, send: Send) -> None:
    head = {"type": "http.response.start", "status": refusal.status, "headers": refusal.headers()}
    await send(head)
    await send({"type": "http.response.body", "body": refusal.body()})
