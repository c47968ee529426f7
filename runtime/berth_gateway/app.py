"""The data path: a bare ASGI application with a short list of paths.

Authenticate, look the path up, read the body, find the model, let it in, forward. Every refusal
on the way has OpenAI's shape. Nothing of a client's key or body is ever logged.
"""

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from berth_gateway import catalog, client
from berth_gateway.asgi import Message, Receive, Scope, Send
from berth_gateway.errors import Kind, Refusal
from berth_gateway.proxy import Call, Proxy
from berth_gateway.routing import admission, request
from berth_gateway.routing.snapshot import Model
from berth_gateway.settings import AuthMode, Settings
from berth_gateway.telemetry import Telemetry
from berth_gateway.world.board import Board

_log = logging.getLogger(__name__)

PATH_MODELS: Final = "/v1/models"
# The engine serves these under the same paths.
FORWARDED: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})

# Headers that go on to the engine; all others, cookies and keys above all, end here.
_FORWARDED_HEADERS: Final = (b"content-type", b"accept", b"traceparent", b"tracestate")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")  # fit for logs and headers
_STATUS_CLIENT_LEFT: Final = 499  # nginx's: the client closed the connection before the answer


@dataclass(slots=True)
class Exchange:
    """One request on its way; what is learnt on the way is for the metrics."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    request_id: str
    receive: Receive
    send: Send
    status: int | None = None  # of the answer's head, once it has been sent
    model: Model | None = None
    closing: bool = False  # the process is to end: the client should connect elsewhere

    async def say(self, message: Message) -> None:
        """Send, and remember that the client has seen the answer's head."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.closing:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
        await self.send(message)


class App:
    def __init__(
        self,
        settings: Settings,
        board: Board,
        proxy: Proxy,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = settings.limits
        self._open = settings.auth is AuthMode.NONE
        self._board = board
        self._proxy = proxy
        self._telemetry = telemetry
        self._clock = clock
        self.leaving = False  # set once the process is to end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        exchange = Exchange(
            method=scope["method"],
            path=scope["path"],
            headers=headers,
            request_id=_request_id(headers.get(b"x-request-id")),
            receive=receive,
            send=send,
            closing=self.leaving,
        )
        try:
            status = await self._answer(exchange)
        except Refusal as refusal:
            status = refusal.status
            await _refuse(exchange, refusal)
        except asyncio.CancelledError:
            # Of the server alone, and only at the end of the drain: the process is about to exit.
            _log.warning("%s: cut, for the time to drain is over", exchange.request_id)
            leaving = Refusal(Kind.LEAVING, "this gateway is leaving", retry_after_seconds=1)
            status = leaving.status
            await _refuse(exchange, leaving)
        except Exception:  # noqa: BLE001 -- one request's fault must not end the others
            _log.exception("%s: a fault of the gateway", exchange.request_id)
            status = Kind.INTERNAL.value.status
            await _refuse(exchange, Refusal(Kind.INTERNAL, "the gateway failed; try again"))
        model = exchange.model
        namespace, name = (model.namespace, model.name) if model else ("", "")
        self._telemetry.answered(namespace, name, status)

    async def _answer(self, exchange: Exchange) -> int:
        """The status that was sent."""
        if not self._open:
            self._authenticate(exchange)
        if exchange.path in FORWARDED:
            _require(exchange, "POST")
            return await self._forward(exchange)
        if exchange.path == PATH_MODELS:
            _require(exchange, "GET")
            return await _reply(exchange, catalog.listing(self._board.snapshot))
        if exchange.path.startswith(PATH_MODELS + "/"):
            _require(exchange, "GET")
            model = self._find(exchange, exchange.path.removeprefix(PATH_MODELS + "/"))
            return await _reply(exchange, catalog.entry(self._board.snapshot, model))
        shown = request.shown(f"{exchange.method} {exchange.path}")
        raise Refusal(Kind.UNKNOWN_PATH, f"this gateway does not serve {shown}")

    def _authenticate(self, exchange: Exchange) -> None:
        given = exchange.headers.get(b"authorization", b"").decode("latin-1")
        if self._board.keyring.owner(given) is None:
            raise Refusal(
                Kind.INVALID_KEY,
                "no valid API key; send one as 'Authorization: Bearer <key>'",
            )

    def _find(self, exchange: Exchange, name: str) -> Model:
        model = self._board.snapshot.find(name)
        if model is None:
            message = f"the model {request.shown(name)} does not exist"
            raise Refusal(Kind.MODEL_NOT_FOUND, message, param="model")
        exchange.model = model
        return model

    async def _forward(self, exchange: Exchange) -> int:
        started = self._clock()
        _check_encoding(exchange.headers)
        declared = _content_length(exchange.headers)
        raw = await client.read_body(exchange.receive, declared, self._limits)
        if raw is None:
            return _STATUS_CLIENT_LEFT
        call = self._let_in(exchange, raw)
        del raw  # a long answer to a long prompt holds one copy of it
        arrived = partial(self._arrived, call.model, started)
        async with client.Presence(exchange.receive):
            return await self._proxy.forward(call, exchange.say, arrived)
        return _STATUS_CLIENT_LEFT

    def _let_in(self, exchange: Exchange, raw: bytes) -> Call:
        body = request.parse(raw, self._limits)
        model = self._find(exchange, body.model)
        decision = admission.decide(model)
        if isinstance(decision, admission.NotReady):
            raise Refusal(
                Kind.NOT_READY,
                decision.message,
                retry_after_seconds=decision.retry_after_seconds,
            )
        return _call(exchange, model, body.naming(model.name))

    def _arrived(self, model: Model, started: float) -> None:
        self._telemetry.first_byte(model.namespace, model.name, self._clock() - started)


def _call(exchange: Exchange, model: Model, body: bytes) -> Call:
    headers = {
        name.decode(): exchange.headers[name].decode("latin-1")
        for name in _FORWARDED_HEADERS
        if name in exchange.headers
    }
    headers["accept-encoding"] = "identity"
    if model.engine_key is not None:
        headers["authorization"] = f"Bearer {model.engine_key}"
    return Call(model, exchange.path, body, headers, exchange.request_id)


def _request_id(given: bytes | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return uuid.uuid4().hex


def _require(exchange: Exchange, method: str) -> None:
    if exchange.method != method:
        message = f"{exchange.path} takes {method}, not {exchange.method}"
        raise Refusal(Kind.METHOD, message, allow=method)


def _check_encoding(headers: Mapping[bytes, bytes]) -> None:
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
    if encoding.lower() != "identity":
        message = f"content-encoding {request.shown(encoding)} is not accepted; send it plain"
        raise Refusal(Kind.UNSUPPORTED_ENCODING, message)


def _content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """The server has checked that it is a number."""
    given = headers.get(b"content-length")
    return None if given is None else int(given)


async def _reply(exchange: Exchange, document: object) -> int:
    headers = [(b"content-type", b"application/json")]
    await _send_whole(exchange, 200, headers, json.dumps(document).encode())
    return 200


async def _refuse(exchange: Exchange, refusal: Refusal) -> None:
    """Once an answer has begun it is too late: it stays incomplete and the server cuts it."""
    if exchange.status is None:
        await _send_whole(exchange, refusal.status, refusal.headers(), refusal.body())


async def _send_whole(
    exchange: Exchange, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    known = [
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", exchange.request_id.encode()),
    ]
    await exchange.say(
        {"type": "http.response.start", "status": status, "headers": headers + known}
    )
    await exchange.say({"type": "http.response.body", "body": body, "more_body": False})
