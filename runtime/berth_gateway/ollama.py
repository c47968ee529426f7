"""Ollama's API at its own paths, over the same models, keys, limits and queues as OpenAI's.

A request is translated and then goes the way of any other; on the way back the exchange translates
what the engine says. Nothing is sent before there is a line to send, so whatever fails until then
has a status of its own. Clients read every line as JSON, so a request that waits is told nothing.
"""

import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from typing import ClassVar, Final, Protocol

from berth_api.models_api import Verb
from berth_gateway import calls, client
from berth_gateway.errors import BrokenOffError, Dialect, Kind, Refusal
from berth_gateway.managing import Manager
from berth_gateway.proxy import Call, Proxy
from berth_gateway.routing import request
from berth_gateway.routing.ollama import listing, question
from berth_gateway.routing.ollama.answer import (
    Failed,
    Generation,
    Loaded,
    Moment,
    loaded,
    refused,
)
from berth_gateway.routing.ollama.listing import Stay
from berth_gateway.routing.ollama.question import Endpoint, Question
from berth_gateway.routing.ollama.vectors import Vectors
from berth_gateway.routing.snapshot import Model
from berth_gateway.settings import Settings
from berth_gateway.state.board import Board
from berth_gateway.upstream.connection import Connection
from berth_gateway.upstream.renamed import Renamed

WORKING: Final = frozenset(one.value for one in Endpoint)
_ROOT: Final = "/"
_PREFIX: Final = "/api/"
# What people and scripts look for at the root; the official clients look at the status alone.
_RUNNING: Final = b"Ollama is running"
_MANAGING: Final = {verb.value: verb for verb in Verb}
# Where files would go to and come from: Ollama's library and its clients' disks.
_PUSH: Final = f"{_PREFIX}push"
_BLOBS: Final = f"{_PREFIX}blobs/"
_NO_FILES: Final = (
    "files are neither taken nor given: models are fetched from a hub, a registry or a claim; pull "
    "hf.co/organisation/model, or create a model from one"
)
_BUSY: Final = "server busy, please try again.  maximum pending requests exceeded"
_FULL: Final = frozenset({Kind.QUEUE_FULL, Kind.GATEWAY_FULL})
_JSON: Final = b"application/json; charset=utf-8"
_NDJSON: Final = b"application/x-ndjson"
_MAX_ERROR_BYTES: Final = 2**16  # more than any engine says of an error


class Answer(Protocol):
    """A translation of one engine's answer."""

    failed: Failed | None

    def take(self, data: bytes, now: Moment, *, last: bool) -> bytes: ...


def serves(path: str) -> bool:
    """Whether errors at this path have Ollama's shape."""
    return path.startswith(_PREFIX) or path == _ROOT


@dataclass(slots=True)
class Exchange(client.Exchange):
    """One that translates what an engine says, while it has `asked` one."""

    content_type: ClassVar[bytes] = _JSON

    asked: Question | None = None
    answer: Answer | None = None  # begun by the engine
    upstream: int = 0  # the engine's status
    error: bytes = b""  # what it says with any but 200

    @property
    def dialect(self) -> Dialect:
        return Dialect.OLLAMA

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The engine's head waits for the first line that can be made of its body."""
        if self.asked is None:
            await client.Exchange.begin(self, status, headers)
            return
        self.upstream = status
        self.answer = _translation(self.asked, Loaded(self.started, self.held_seconds))

    async def say(self, chunk: bytes, *, more: bool) -> None:
        if self.asked is None or self.answer is None:
            await client.Exchange.say(self, chunk, more=more)
        elif self.upstream == HTTPStatus.OK:
            await self._translate(self.asked, self.answer, chunk, more=more)
        else:
            self._hear_error(self.asked, chunk, more=more)

    async def relay(self, connection: Connection | Renamed) -> None:
        if self.asked is None:
            await client.Exchange.relay(self, connection)
            return
        while chunk := await connection.piece():
            await self.say(chunk, more=True)

    async def break_off(
        self,
        refusal: Refusal,
        tail: bytes,  # noqa: ARG002 -- lines end themselves
        *,
        streams: bool,  # noqa: ARG002 -- each answer can say so, until it has begun
    ) -> None:
        raise BrokenOffError(refusal.status, refusal.message)

    def _hear_error(self, asked: Question, chunk: bytes, *, more: bool) -> None:
        self.error += chunk[: _MAX_ERROR_BYTES - len(self.error)]
        if not more:
            raise BrokenOffError(*refused(asked, self.upstream, self.error))

    async def _translate(
        self, asked: Question, answer: Answer, chunk: bytes, *, more: bool
    ) -> None:
        said = answer.take(chunk, moment(), last=not more)
        over = not more and answer.failed is None
        if said or over:
            await self._send(asked, said, over=over)
        if answer.failed is not None:
            raise BrokenOffError(*answer.failed)

    async def _send(self, asked: Question, said: bytes, *, over: bool) -> None:
        if self.status is None:
            headers = [(b"content-type", _NDJSON if asked.stream else _JSON)]
            if over:
                headers.append((b"content-length", b"%d" % len(said)))
            await client.Exchange.begin(self, 200, headers)
        await client.Exchange.say(self, said, more=not over)

    async def tell_broken(self, broken: BrokenOffError) -> None:
        """As an error of its own, or as the last line; an answer in one piece stays incomplete."""
        said = json.dumps({"error": broken.message}).encode()
        lines = self.asked is not None and self.asked.stream
        self.asked = None  # what is said from now on is said in Ollama's words already
        if self.status is None:
            await self.whole(broken.status, [(b"content-type", _JSON)], said)
        elif lines:
            await self.say(said + b"\n", more=False)


def moment() -> Moment:
    return Moment(time.monotonic(), listing.rfc3339(datetime.now(timezone.utc)))


class Front:
    def __init__(self, board: Board, settings: Settings, proxy: Proxy) -> None:
        self._board = board
        self._limits = settings.limits
        self._proxy = proxy
        self._manager = Manager(board, settings)
        self._pages: Mapping[str, tuple[tuple[str, ...], _Page]] = {
            _ROOT: (("GET", "HEAD"), self._running),
            f"{_PREFIX}version": (("GET", "HEAD"), self._version),
            f"{_PREFIX}tags": (("GET", "HEAD"), self._tags),
            f"{_PREFIX}ps": (("GET",), self._ps),
            f"{_PREFIX}show": (("POST",), self._show),
            **dict.fromkeys(WORKING, (("POST",), self._work)),
        }

    async def answer(self, exchange: Exchange) -> int:
        """The status that was sent. Refusal."""
        path = exchange.path
        if path in _MANAGING:
            return await self._manager.answer(exchange, _MANAGING[path])
        if path == _PUSH or path.startswith(_BLOBS):
            raise Refusal(Kind.NOT_HERE, _NO_FILES)
        known = self._pages.get(path)
        if known is None:
            raise client.unknown_path(exchange)
        methods, page = known
        client.require(exchange, *methods)
        return await page(exchange)

    async def _running(self, exchange: Exchange) -> int:
        await exchange.whole(200, [(b"content-type", b"text/plain; charset=utf-8")], _RUNNING)
        return 200

    async def _version(self, exchange: Exchange) -> int:
        return await exchange.tell({"version": listing.VERSION})

    async def _tags(self, exchange: Exchange) -> int:
        snapshot = self._board.snapshot
        return await exchange.tell(listing.tags(snapshot, exchange.visible(snapshot)))

    async def _ps(self, exchange: Exchange) -> int:
        snapshot = self._board.snapshot
        loaded = (model for model in exchange.visible(snapshot) if not model.adapter)
        stays = [(model, self._stay(model)) for model in loaded]
        now = datetime.now(timezone.utc)
        return await exchange.tell(listing.running(snapshot, stays, now))

    async def _show(self, exchange: Exchange) -> int:
        raw = await self._read(exchange)
        if raw is None:
            return client.STATUS_CLIENT_LEFT
        name = question.name(question.body(raw, self._limits), "name")
        return await exchange.tell(listing.shown(self._find(exchange, name)))

    async def _work(self, exchange: Exchange) -> int:
        raw = await self._read(exchange)
        if raw is None:
            return client.STATUS_CLIENT_LEFT
        asked = question.read(Endpoint(exchange.path), raw, self._limits)
        del raw  # a long answer to a long prompt holds one copy of it
        model = self._find(exchange, asked.model)
        if asked.unloads:
            return await self._unload(exchange, model, asked)
        with client.Presence(exchange), _ollamas_words():
            # The question is checked as OpenAI's are before it says how long the model stays.
            call = self._call(exchange, model, asked)
            self._board.queues.keep(model, asked.keep_alive)
            asked = asked.sent()
            return await self._ask(exchange, call, asked)
        return client.STATUS_CLIENT_LEFT

    async def _read(self, exchange: Exchange) -> bytes | None:
        client.check_encoding(exchange.headers)
        return await client.read_body(exchange, self._limits)

    def _find(self, exchange: Exchange, name: str) -> Model:
        """A model that the key is not for is told from none by nobody."""
        snapshot = self._board.snapshot
        model = listing.find(snapshot, name)
        if model is None or not exchange.may_see(model, snapshot):
            raise Refusal(Kind.MODEL_NOT_FOUND, f"model {request.shown(name)} not found")
        exchange.model = model
        return model

    def _stay(self, model: Model) -> Stay:
        """As this gateway knows it; others may have heard of the model since."""
        queues = self._board.queues
        line = queues.lines.get(model.key)
        if line is None:
            return Stay(model.keep_alive_seconds, 0.0)
        asked = line.residency.asked
        idle = 0.0 if queues.works(line) else queues.idle_seconds(line)
        return Stay(model.keep_alive_seconds if asked is None else asked, idle or 0.0)

    async def _unload(self, exchange: Exchange, model: Model, asked: Question) -> int:
        """The operator takes the replicas away, once they are idle."""
        if model.endpoints:
            self._board.queues.keep(model, 0.0)
        return await _told(exchange, asked, "unload")

    def _call(self, exchange: Exchange, model: Model, asked: Question) -> Call:
        _tell_context(exchange, model, asked)
        body = request.parse(asked.body(model, self._limits), self._limits)
        return calls.call(
            exchange,
            model,
            body,
            asked.path,
            content_type=b"application/json",
            accept=None,
            streams=False,
        )

    async def _ask(self, exchange: Exchange, call: Call, asked: Question) -> int:
        if not asked.path:
            await self._proxy.load(call, exchange)
            return await _told(exchange, asked, "load")
        exchange.asked = asked
        try:
            await self._proxy.forward(call, exchange)
        except BrokenOffError as broken:
            await exchange.tell_broken(broken)
        finally:
            exchange.asked = None  # a refusal is in Ollama's words already
        return exchange.status or client.STATUS_CLIENT_LEFT


_Page = Callable[[Exchange], Awaitable[int]]


def _translation(asked: Question, before: Loaded) -> Answer:
    if asked.endpoint in {Endpoint.EMBED, Endpoint.EMBEDDINGS}:
        return Vectors(asked.endpoint, asked.model, before, asked.inputs)
    return Generation(asked.endpoint, asked.model, before, stream=asked.stream)


@contextmanager
def _ollamas_words() -> Iterator[None]:
    """A full queue, as Ollama has it: status and text are what its clients know."""
    try:
        yield
    except Refusal as refusal:
        if refusal.kind not in _FULL:
            raise
        seconds = refusal.retry_after_seconds
        raise Refusal(Kind.SERVER_BUSY, _BUSY, retry_after_seconds=seconds) from refusal


def _tell_context(exchange: Exchange, model: Model, asked: Question) -> None:
    """A model is never loaded anew for a longer context; who asks for one is told what there is."""
    context = model.facts.context
    if context is not None and asked.context is not None and asked.context > context:
        told = (b"x-berth-context-length", b"%d" % context)
        exchange.extra = [*(exchange.extra or ()), told]


async def _told(exchange: Exchange, asked: Question, reason: str) -> int:
    said = loaded(asked.endpoint, asked.model, reason, moment())
    await exchange.whole(200, [(b"content-type", _JSON)], said)
    return 200
