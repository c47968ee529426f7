"""What a client sends, received within bounds, and whether it is still there."""

import asyncio
from types import TracebackType

from berth_gateway.asgi import Message, Receive
from berth_gateway.errors import Kind, Refusal
from berth_gateway.settings import Limits


async def read_body(receive: Receive, declared: int | None, limits: Limits) -> bytes | None:
    """The whole body; None if the client left. Refusal if it is too large or too slow.

    `declared` is Content-Length: a body that announces too much is refused before it is read.
    """
    if declared is not None and declared > limits.body_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read(receive, limits)
    except TimeoutError as error:
        message = f"the body did not arrive within {limits.body_seconds} s"
        raise Refusal(Kind.SLOW_BODY, message) from error


async def _read(receive: Receive, limits: Limits) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limits.body_bytes:
            raise _too_large(limits)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(limits: Limits) -> Refusal:
    message = f"the body is larger than {limits.body_bytes} bytes, the limit of this gateway"
    return Refusal(Kind.TOO_LARGE, message)


class Presence:
    """A context whose work is cancelled when the client leaves; `left` says so afterwards.

    To be entered after the whole body has been read: from then on the server reports nothing but
    the end of the connection.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.left = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a coroutine that runs has a task
        self._task = task
        self._watch: asyncio.Future[Message] = asyncio.ensure_future(self._receive())
        self._watch.add_done_callback(self._on_left)

    def _on_left(self, _watch: "asyncio.Future[Message]") -> None:
        self.left = True
        self._task.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Swallows the cancellation that it caused itself, and no other."""
        self._watch.remove_done_callback(self._on_left)
        self._watch.cancel()
        return self.left and self._task.uncancel() == 0 and kind is asyncio.CancelledError
