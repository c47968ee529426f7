"""A client's request and the way back to it: what it sends, within bounds, and whether it stays."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Final, TypeVar

from berth_gateway.asgi import DIRECT, Direct, Message, Receive, Scope, Send
from berth_gateway.errors import Dialect, Kind, Refusal, error_event
from berth_gateway.routing.jsontext import shown
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.snapshot import Model, Snapshot
from berth_gateway.settings import Limits
from berth_gateway.upstream.connection import Connection
from berth_gateway.upstream.renamed import Renamed

PATH_MESSAGES: Final = "/v1/messages"  # Anthropic's API, which the engine serves beside OpenAI's
STATUS_CLIENT_LEFT: Final = 499  # nginx's: the client closed the connection before the answer


@dataclass(slots=True)
class Exchange:
    """One request on its way; what is learnt on the way is for the metrics."""

    content_type: ClassVar[bytes] = b"application/json"  # of what `tell` sends

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    receive: Receive
    send: Send
    direct: Direct | None  # None on any server but our own
    started: float  # seconds, monotonic
    request_id: str = ""
    closing: bool = False  # the process is to end: the client should connect elsewhere
    status: int | None = None  # of the answer's head, once it has been sent
    model: Model | None = None
    key: ApiKey | None = None  # what its holder may do
    extra: list[tuple[bytes, bytes]] | None = None  # headers of whatever the answer will be
    held_since: float | None = None  # seconds, monotonic; None: it has not been held
    held_seconds: float = 0.0  # in all, as of the last time that it was told
    commented: bool = False  # the head has been sent, and nothing but comments after it

    @property
    def key_id(self) -> str:
        """Of the API key; empty where none is asked for."""
        return "" if self.key is None else self.key.name

    @property
    def dialect(self) -> Dialect:
        return Dialect.ANTHROPIC if self.path == PATH_MESSAGES else Dialect.OPENAI

    def may_see(self, model: Model, snapshot: Snapshot) -> bool:
        """Every model, where no key is asked for."""
        return self.key is None or self.key.admits(model, snapshot)

    def visible(self, snapshot: Snapshot) -> list[Model]:
        """Models, and their adapters behind each."""
        return [one for one in snapshot.listed if self.may_see(one, snapshot)]

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the answer's head, and remember that the client has seen it."""
        self.status = status
        if self.extra is not None:
            headers += self.extra
        headers.append((b"x-request-id", self.request_id.encode()))
        if self.closing:
            headers.append((b"connection", b"close"))
        if self.direct is not None:
            self.direct.begin(status, headers)
        else:
            await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def say(self, chunk: bytes, *, more: bool) -> None:
        """Send a piece of the answer's body."""
        if self.direct is not None and self.direct.writable:
            self.direct.say(chunk, more=more)
        else:
            await self.send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer of the gateway's own."""
        headers.append((b"content-length", b"%d" % len(body)))
        await self.begin(status, headers)
        await self.say(body, more=False)

    async def tell(self, document: object) -> int:
        """Send a document of the gateway's own as JSON; returns the status that was sent."""
        headers = [(b"content-type", self.content_type)]
        await self.whole(200, headers, json.dumps(document).encode())
        return 200

    async def relay(self, connection: Connection | Renamed) -> None:
        """Send the rest of an engine's answer, as fast as both sides take it, but not its end.

        LostError when the engine breaks off.
        """
        direct = self.direct
        if direct is None:
            while chunk := await connection.piece():
                await self.say(chunk, more=True)
            return
        direct.attach(connection)
        try:
            await connection.pour(direct.write)
        finally:
            direct.attach(None)

    async def break_off(self, refusal: Refusal, tail: bytes, *, streams: bool) -> None:
        """End a stream with an error event and without [DONE]; `tail` is what it last said.

        Any other answer is left incomplete: the server then cuts the connection, which no client
        can take for the end of a body.
        """
        if not streams:
            return
        # The engine may have died inside an event: an empty line keeps ours apart from it.
        gap = b"" if tail.endswith(b"\n\n") else b"\n\n"
        event = error_event(self.dialect, refusal.body(self.dialect))
        await self.say(gap + event, more=False)


Made = TypeVar("Made", bound=Exchange)


def exchange(kind: type[Made], scope: Scope, receive: Receive, send: Send, now: float) -> Made:
    extensions = scope.get("extensions") or {}
    return kind(
        method=scope["method"],
        path=scope["path"],
        headers=dict(scope["headers"]),
        receive=receive,
        send=send,
        direct=extensions.pop(DIRECT, None),  # or each would keep the other alive
        started=now,
    )


def require(exchange: Exchange, *methods: str) -> None:
    if exchange.method not in methods:
        allowed = ", ".join(methods)
        message = f"{exchange.path} takes {allowed}, not {exchange.method}"
        raise Refusal(Kind.METHOD, message, allow=allowed)


def unknown_path(exchange: Exchange) -> Refusal:
    asked = shown(f"{exchange.method} {exchange.path}")
    return Refusal(Kind.UNKNOWN_PATH, f"this gateway does not serve {asked}")


def check_encoding(headers: Mapping[bytes, bytes]) -> None:
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
    if encoding.lower() != "identity":
        message = f"content-encoding {shown(encoding)} is not accepted; send it plain"
        raise Refusal(Kind.UNSUPPORTED_ENCODING, message)


async def read_body(exchange: Exchange, limits: Limits) -> bytes | None:
    """The whole body; None if the client left. Refusal if it is too large or too slow.

    A body that announces too much is refused before it is read.
    """
    if _content_length(exchange.headers) > limits.body_bytes:
        raise _too_large(limits)
    direct = exchange.direct
    if direct is not None and direct.arrived:  # as most have: no timer for these
        return _bounded(direct.take_body(), limits)
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read(exchange.receive, limits)
    except TimeoutError as error:
        message = f"the body did not arrive within {limits.body_seconds} s"
        raise Refusal(Kind.SLOW_BODY, message) from error


def _content_length(headers: Mapping[bytes, bytes]) -> int:
    """The server has checked that it is a number."""
    return int(headers.get(b"content-length", b"0"))


async def _read(receive: Receive, limits: Limits) -> bytes | None:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limits.body_bytes:
            raise _too_large(limits)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _bounded(body: bytes, limits: Limits) -> bytes:
    if len(body) > limits.body_bytes:
        raise _too_large(limits)
    return body


def _too_large(limits: Limits) -> Refusal:
    message = f"the body is larger than {limits.body_bytes} bytes, the limit of this gateway"
    return Refusal(Kind.TOO_LARGE, message)


class Presence:
    """A context whose work is cancelled when the client leaves; `left` says so afterwards.

    To be entered after the whole body has been read: from then on the server reports nothing but
    the end of the connection.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Future[Message] | None = None
        self.left = False

    def __enter__(self) -> None:
        direct = self._exchange.direct
        if direct is None:
            self._task = asyncio.current_task()
            self._watch = asyncio.ensure_future(self._exchange.receive())
            self._watch.add_done_callback(self._on_answer)
            return
        self._task = direct.task
        direct.on_left = self._on_left
        if direct.left:
            self._on_left()

    def _on_answer(self, _watch: "asyncio.Future[Message]") -> None:
        self._on_left()

    def _on_left(self) -> None:
        self.left = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Swallows the cancellation that it caused itself, and no other."""
        if self._exchange.direct is not None:
            self._exchange.direct.on_left = None
        if self._watch is not None:
            self._watch.remove_done_callback(self._on_answer)
            self._watch.cancel()
        if not self.left or self._task is None:
            return False
        return self._task.uncancel() == 0 and kind is asyncio.CancelledError
