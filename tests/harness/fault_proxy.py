"""Between the operator and a real API server: it passes everything on, but for the rules it is given.

Speaks plain HTTP to the operator and TLS to the server, and passes the bearer token through, so
that the server still knows who asks. It runs in a thread of its own. Rules come and go while it
runs, and also strike watches that are already open.
"""

import asyncio
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import yaml
import yarl
from aiohttp import web

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.05  # how often an open watch looks whether a rule has come for it
_LONGEST_LINE: Final = 8 * 2**20  # an event is one line, and an object has at most 1.5 MiB
_HALF_AN_EVENT: Final = b'{"type": "MODIFIED", "object": {"metadata": {"na'
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # linger for no time at all: RST instead of FIN
_HOP_BY_HOP: Final = frozenset(
    {"connection", "host", "keep-alive", "transfer-encoding", "content-length"}
)


@dataclass(frozen=True)
class Delay:
    seconds: float


@dataclass(frozen=True)
class Reset:
    """The connection breaks without an answer."""


@dataclass(frozen=True)
class HalfOpen:
    """Not one byte more, and the connection stays."""


@dataclass(frozen=True)
class Answer:
    """Instead of the server's, which is not even asked."""

    code: int
    body: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorEvent:
    """In a watch: the server's own way to say that it cannot go on."""

    code: int

    @property
    def line(self) -> bytes:
        return json.dumps({"type": "ERROR", "object": _status(self.code)}).encode() + b"\n"


@dataclass(frozen=True)
class TruncatedLine:
    """In a watch: half an event, then the end."""


@dataclass(frozen=True)
class Call:
    """Does something to the world just before the request is passed on, or just after the answer."""

    act: Callable[[], None]
    answered: bool = False


Fault = Delay | Reset | HalfOpen | Answer | ErrorEvent | TruncatedLine | Call
_AT_REQUEST: Final = (Delay, Reset, HalfOpen, Answer, Call)
_IN_WATCH: Final = (Reset, HalfOpen, ErrorEvent, TruncatedLine)


@dataclass
class Rule:
    """What goes wrong, for which requests, and how often: `skip` matches are let through first."""

    fault: Fault
    path: str = ""  # a regular expression that is found somewhere in it
    verbs: frozenset[str] = frozenset()  # empty: all
    watch: bool | None = None  # None: watches and others
    skip: int = 0
    times: int | None = None  # None: until the rule is removed
    seconds: float | None = None  # from the moment it is set; None: until the rule is removed
    _set_at: float = field(default_factory=time.monotonic)

    def takes(self, seen: "Seen") -> bool:
        """Whether it strikes this one; counts if so."""
        if not self._matches(seen) or self.times == 0 or self._over():
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def _over(self) -> bool:
        return self.seconds is not None and time.monotonic() - self._set_at > self.seconds

    def _matches(self, seen: "Seen") -> bool:
        right_kind = self.watch in (None, seen.watch)
        right_verb = not self.verbs or seen.verb in self.verbs
        return right_kind and right_verb and re.search(self.path, seen.path) is not None


@dataclass(frozen=True)
class Seen:
    """A request, at `time.monotonic()`."""

    at: float
    verb: str
    path: str
    watch: bool


def status_answer(code: int, reason: str, message: str = "as told", **headers: str) -> Answer:
    """As the API server words it."""
    body = _status(code) | {"reason": reason, "message": message}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(code, json.dumps(body), headers=named)


class FaultProxy:
    """Between `with` and its end it listens on `url`, for the server of `kubeconfig`."""

    def __init__(self, kubeconfig: Path) -> None:
        cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
        self._server: str = cluster["server"]
        self._authority = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._rules: list[Rule] = []
        self._seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._begin())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://{_LOOPBACK}:{self._port}"

    @contextmanager
    def rule(self, fault: Fault, path: str = "", **more: Any) -> Iterator[Rule]:
        """A rule for as long as the block runs."""
        one = Rule(fault, path, **more)
        self._rules = [*self._rules, one]
        try:
            yield one
        finally:
            self._rules = [other for other in self._rules if other is not one]

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Nobody listens for as long as the block runs, and what was open is reset."""
        self._await(self._stop_listening())
        try:
            yield
        finally:
            self._await(self._listen())

    def requests(self, *verbs: str, path: str = "", since: float = 0.0) -> list[Seen]:
        """What came, of these verbs (or all), from `since` on."""
        return [
            one
            for one in tuple(self._seen)
            if one.at >= since and (not verbs or one.verb in verbs) and re.search(path, one.path)
        ]

    def _await(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    async def _begin(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._authority, limit=0)
        self._client = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            read_bufsize=_LONGEST_LINE,
        )
        application = web.Application(client_max_size=_LONGEST_LINE)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def _end(self) -> None:
        await self._stop_listening()
        await self._runner.cleanup()
        await self._client.close()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, _LOOPBACK, self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop_listening(self) -> None:
        await self._site.stop()
        for connection in self._runner.server.connections if self._runner.server else ():
            _reset(connection.transport)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        watch = request.query.get("watch") in ("true", "1")
        seen = Seen(time.monotonic(), request.method, request.path, watch)
        self._seen.append(seen)
        match fault := self._struck(seen, _AT_REQUEST):
            case Answer():
                return web.Response(
                    status=fault.code,
                    text=fault.body,
                    content_type=fault.content_type,
                    headers=fault.headers,
                )
            case Reset():
                _reset(request.transport)
            case HalfOpen():
                await asyncio.Event().wait()
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Call(act, answered=False):
                await asyncio.to_thread(act)
        return await self._pass_on(request, seen, fault)

    async def _pass_on(
        self, request: web.Request, seen: Seen, fault: Fault | None
    ) -> web.StreamResponse:
        body = await request.read()
        try:
            async with self._ask(request, body) as answer:
                if seen.watch and answer.status == web.HTTPOk.status_code:
                    return await self._stream(request, seen, answer)
                body = await answer.read()
        except (aiohttp.ClientError, OSError):
            _reset(request.transport)  # the server went away, and so does this
            raise
        if isinstance(fault, Call) and fault.answered:
            await asyncio.to_thread(fault.act)
        return web.Response(status=answer.status, body=body, headers=_passed(answer.headers))

    def _ask(self, request: web.Request, body: bytes) -> Any:
        return self._client.request(
            request.method,
            yarl.URL(f"{self._server}{request.raw_path}", encoded=True),
            headers=_passed(request.headers),
            data=body or None,
        )

    async def _stream(
        self, request: web.Request, seen: Seen, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        """Line by line, with an eye on the rules."""
        response = web.StreamResponse(headers=_passed(answer.headers))
        await response.prepare(request)
        reading = asyncio.ensure_future(answer.content.readline())
        try:
            while True:
                await asyncio.wait({reading}, timeout=_LOOK_SECONDS)
                line = reading.result() if reading.done() else None
                if not await self._tell(request, response, seen, line):
                    return response
                if line is not None:
                    reading = asyncio.ensure_future(answer.content.readline())
        finally:
            reading.cancel()

    async def _tell(
        self, request: web.Request, response: web.StreamResponse, seen: Seen, line: bytes | None
    ) -> bool:
        """Passes a line on, if there is one; False at the end of the stream."""
        match fault := self._struck(seen, _IN_WATCH):
            case HalfOpen():
                await asyncio.Event().wait()
            case Reset():
                _reset(request.transport)
                return False
            case ErrorEvent():
                await response.write(fault.line)
                return False
            case TruncatedLine():
                await response.write(_HALF_AN_EVENT)
                return False
        if line:
            await response.write(line)
        return line != b""

    def _struck(self, seen: Seen, among: tuple[type, ...]) -> Fault | None:
        """The fault of the newest rule for this request whose time is now."""
        for rule in reversed(self._rules):
            if isinstance(rule.fault, among) and rule.takes(seen):
                return rule.fault
        return None


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _reset(transport: asyncio.BaseTransport | None) -> None:
    """Breaks a connection, if it still is one."""
    if isinstance(transport, asyncio.Transport) and not transport.is_closing():
        plug = transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()


def _status(code: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": {410: "Expired", 504: "Timeout"}.get(code, "InternalError"),
        "message": f"{code}: as told",
        "metadata": {},
    }
