"""One connection to one engine: a request out, its answer in, and the next one after it.

httptools does all parsing. A body is taken in one of two ways: `piece()` waits for its next bytes;
`pour()` hands bytes to a function as they arrive, and no task is woken for them.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast

import httptools

from berth_gateway.errors import LostError

MAX_HEAD_BYTES: Final = 64 * 2**10  # of an answer; vLLM's are 200
# Up to here the body is copied behind the head, for one write; above, the copy costs more.
JOIN_BYTES: Final = 16 * 2**10
# What may wait here for whoever reads before the engine is made to wait.
BUFFERED_BYTES: Final = 64 * 2**10

_INFORMATIONAL: Final = 100
_FINAL: Final = 200  # below it, 1xx, another answer follows
_HIGHEST: Final = 599

Header = tuple[bytes, bytes]


class Connection(asyncio.Protocol):
    """Carries one request at a time; `reusable` says whether another may follow.

    `status` and `headers` are set once `piece()` has returned for the first time, `whole` once the
    answer's last byte is here.
    """

    def __init__(
        self,
        host: bytes,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`host` is for the header of that name."""
        self.status = 0
        self.headers: list[Header] = []  # names in lower case
        self.whole = True
        self.idle_since: float | None = None  # on `clock`; None until an answer has been dealt with
        self.on_end: Callable[[], None] | None = None  # called when the connection has ended
        self._host = host
        self._loop = loop  # asking for the running one costs a system call (Python 3.11)
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []  # of the body, not yet taken
        self.on_body = self._pieces.append  # the parser's: no Python of ours runs for a piece
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._lost: LostError | None = None
        self._paused = False
        self._silence: asyncio.TimerHandle | None = None
        self._begin()

    def _begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._keeps_alive = False
        self._heard_at = 0.0
        self._sink: Callable[[bytes], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._last = self._before = b""

    # The request.

    def ask(self, path: bytes, fields: bytes, body: bytes) -> None:
        """POST `body`. `fields` are further header lines, each with its CRLF.

        LostError if the connection has ended meanwhile.
        """
        if self._transport is None:
            raise self._lost or LostError("not connected")
        self._begin()
        self.status, self.headers, self.whole = 0, [], False
        head = b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n" % (
            path, self._host, fields, len(body),
        )  # fmt: skip
        if len(body) <= JOIN_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    # The answer.

    async def piece(self) -> bytes:
        """The next bytes of the body; b"" at its end. LostError if it does not come so far."""
        if not self._answered():
            await self._wait()
        if self._pieces:
            taken = self._take()
            self.resume_reading()
            return taken
        if self._lost is not None and not self.whole:
            raise self._lost
        return b""

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        """Hand the rest of the body to `sink`, which never waits. LostError as `piece`.

        A `sink` that has enough calls `pause_reading`, and later `resume_reading`.
        """
        self.resume_reading()
        if self._pieces:
            sink(self._take())
        self._sink = sink
        while not self.whole and self._lost is None:
            await self._wait()
        self._sink = None
        if self._pieces:  # what came in front of the fault that ended it
            sink(self._take())
        if not self.whole and self._lost is not None:
            raise self._lost

    @property
    def tail(self) -> bytes:
        """The last two pieces of the body that have been taken."""
        return self._before + self._last

    def limit_silence(self, seconds: float) -> None:
        """From now on the answer is lost when no byte has come for so long.

        Time in which the reader makes the engine wait does not count.
        """
        self._check_silence(seconds)

    def _check_silence(self, seconds: float) -> None:
        now = self._clock()
        if self._silence is None or self._paused:
            self._heard_at = now
        left = self._heard_at + seconds - now
        if self._silence is not None and left <= 0:
            self.lose(f"no byte for {seconds} s")
            return
        self._silence = self._loop.call_later(left, self._check_silence, seconds)

    def pause_reading(self) -> None:
        """Make the engine wait, once the system's buffers are full."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # Its end.

    @property
    def reusable(self) -> bool:
        """The answer is whole, and nothing is in the way of another on this connection."""
        if not (self.whole and self._keeps_alive) or self._lost is not None:
            return False
        transport = self._transport
        # An answer that came before all of the request had been sent leaves the rest of it behind.
        return transport is not None and not transport.get_write_buffer_size()

    def finish(self) -> bool:
        """The answer has been dealt with. Whether the connection lives; else it ends at once."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if not self.reusable:
            self.lose("given up")
            return False
        self.resume_reading()
        self._pieces.clear()
        self._last = self._before = b""
        self.idle_since = self._clock()
        return True

    def lose(self, reason: str) -> None:
        """End it at once; whoever waits for the answer gets a LostError."""
        self._fail(reason)
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, reason: str) -> None:
        if self._lost is None:
            self._lost = LostError(reason)
        self._wake()

    def _answered(self) -> bool:
        """There is something to be had now."""
        return bool(self._pieces) or self.whole or self._lost is not None

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> bytes:
        pieces = self._pieces
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._before, self._last = self._last, taken
        return taken

    # asyncio's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no such class

    def data_received(self, data: bytes) -> None:
        if self.whole or self._parser is None:
            self.lose("bytes that nobody asked for")
            return
        self._heard_at = self._clock()
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.lose(f"no HTTP answer: {error!r}")
            return
        if self._sink is not None:
            if self._pieces:
                self._sink(self._take())
            if self.whole:
                self._wake()
        elif self._pieces or self.whole:
            self._wake()
            self._bound_buffer()
        elif self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.lose(f"a head of more than {MAX_HEAD_BYTES} bytes")

    def _bound_buffer(self) -> None:
        if not self.whole and sum(map(len, self._pieces)) > BUFFERED_BYTES:
            self.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._lost is None and self._ends_with_the_connection():
            self.whole = True
        self._fail(str(exc or "the connection was closed"))
        self._transport = self._parser = None  # and with it the reference to this object
        if self.on_end is not None:
            self.on_end()

    def _ends_with_the_connection(self) -> bool:
        """Neither a length nor chunks tell the body's end (RFC 9112 section 6.3)."""
        return not self._in_head and not any(
            name == b"content-length"
            or (name == b"transfer-encoding" and value.lower().endswith(b"chunked"))
            for name, value in self.headers
        )

    # httptools' callbacks.

    def on_message_begin(self) -> None:
        if self.whole:
            raise LostError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are no header fields, and are dropped
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None  # noqa: S101 -- it is the caller
        self.status = self._parser.get_status_code()
        if not _INFORMATIONAL <= self.status <= _HIGHEST:
            raise LostError(f"an answer of status {self.status}")
        self._in_head = self.status < _FINAL

    def on_message_complete(self) -> None:
        if self.status < _FINAL:
            self.headers = []
            return
        assert self._parser is not None  # noqa: S101 -- it is the caller
        self._keeps_alive = self._parser.should_keep_alive()
        self.whole = True
