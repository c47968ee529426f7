"""The data path: a bare ASGI application with a short list of paths.

Authenticate, look the path up, read the body, find the model, forward. Every refusal on the way has
its API's shape. Nothing of a client's key or body is ever logged.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from itertools import count
from math import ceil
from typing import Final

from berth_gateway import calls, catalog, client, ollama
from berth_gateway.asgi import Receive, Scope, Send
from berth_gateway.client import PATH_MESSAGES, Exchange
from berth_gateway.errors import Kind, Refusal, error_event
from berth_gateway.proxy import Call, Proxy
from berth_gateway.routing import rates, request
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.ollama import listing
from berth_gateway.routing.request import Body
from berth_gateway.routing.snapshot import Model
from berth_gateway.settings import AuthMode, Settings
from berth_gateway.state.board import Board
from berth_gateway.state.meters import Meters
from berth_gateway.telemetry import Telemetry

_log = logging.getLogger(__name__)

PATH_MODELS: Final = "/v1/models"
# Bodies of these are forms with a file in them.
_FORMS: Final = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations"})
# The engine serves these under the same paths, as far as its model can; else it says so itself.
FORWARDED: Final = _FORMS | {
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", PATH_MESSAGES,
    "/v1/rerank", "/v2/rerank", "/rerank", "/v1/score", "/score", "/tokenize", "/detokenize",
}  # fmt: skip

# Where `stream` has a meaning; elsewhere a client expects one document whatever it says.
_STREAMED: Final = _FORMS | {
    "/v1/chat/completions", "/v1/completions", "/v1/responses", PATH_MESSAGES,
}  # fmt: skip

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")  # fit for logs and headers


class App:
    def __init__(
        self,
        settings: Settings,
        board: Board,
        meters: Meters,
        proxy: Proxy,
        telemetry: Telemetry,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = settings.limits
        self._open = settings.auth is AuthMode.NONE
        self._board = board
        self._meters = meters
        self._proxy = proxy
        self._telemetry = telemetry
        self._clock = clock
        self._ollama = ollama.Front(board, settings, proxy)
        self.leaving = False  # set once the process is to end
        # A counter, made unlike any other process's: random bytes for each request cost more.
        process = secrets.token_hex(10)
        self._request_ids = (f"{process}{number:012x}" for number in count())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = ollama.Exchange if ollama.serves(scope["path"]) else Exchange
        exchange = client.exchange(kind, scope, receive, send, self._clock())
        exchange.closing = self.leaving
        exchange.request_id = self._request_id(exchange.headers)
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
        self._telemetry.answered(namespace, name, status, exchange.key_id)

    def _request_id(self, headers: Mapping[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode()
        return next(self._request_ids)

    async def _answer(self, exchange: Exchange) -> int:
        """The status that was sent."""
        if not self._open:
            self._authenticate(exchange)
        if exchange.path in FORWARDED:
            client.require(exchange, "POST")
            return await self._forward(exchange)
        if exchange.path == PATH_MODELS:
            client.require(exchange, "GET")
            snapshot = self._board.snapshot
            return await exchange.tell(catalog.listing(snapshot, exchange.visible(snapshot)))
        if exchange.path.startswith(PATH_MODELS + "/"):
            client.require(exchange, "GET")
            model = self._find(exchange, exchange.path.removeprefix(PATH_MODELS + "/"))
            return await exchange.tell(catalog.entry(self._board.snapshot, model))
        if isinstance(exchange, ollama.Exchange):
            return await self._ollama.answer(exchange)
        raise client.unknown_path(exchange)

    def _authenticate(self, exchange: Exchange) -> None:
        key = self._board.keyring.find(_authorization(exchange))
        if key is None:
            raise Refusal(
                Kind.INVALID_KEY,
                "no valid API key; send one as 'Authorization: Bearer <key>'",
            )
        exchange.key = key
        if key.requests_per_minute is not None:
            self._meter(exchange, key)

    def _meter(self, exchange: Exchange, key: ApiKey) -> None:
        """Only what engines work for counts; every answer says how the key stands."""
        asks = exchange.path in FORWARDED or exchange.path in ollama.WORKING
        verdict = self._meters.spend(key) if asks else self._meters.look(key)
        if verdict is None:
            return
        exchange.extra = rates.headers(verdict)
        if asks and not verdict.allowed:
            self._telemetry.rate_limited(key.name)
            message = f"this API key may make {verdict.limit} requests a minute here; slow down"
            raise Refusal(
                Kind.RATE_LIMITED, message, retry_after_seconds=ceil(verdict.retry_seconds)
            )

    def _find(self, exchange: Exchange, name: str) -> Model:
        """A model that the key is not for is told from none by nobody."""
        snapshot = self._board.snapshot
        model = listing.find(snapshot, name)  # Ollama's tags lead here too
        if model is None or not exchange.may_see(model, snapshot):
            message = f"the model {request.shown(name)} does not exist, or not for this API key"
            raise Refusal(Kind.MODEL_NOT_FOUND, message, param="model")
        exchange.model = model
        return model

    async def _forward(self, exchange: Exchange) -> int:
        client.check_encoding(exchange.headers)
        raw = await client.read_body(exchange, self._limits)
        if raw is None:
            return client.STATUS_CLIENT_LEFT
        body = self._parse(exchange, raw)
        model = self._find(exchange, body.model)
        if body.keep is not None:
            self._board.queues.lengthen(model, body.keep)
        call = _call(exchange, model, body)
        del raw, body  # a long answer to a long prompt holds one copy of it
        with client.Presence(exchange):
            return await self._proxy.forward(call, exchange)
        return client.STATUS_CLIENT_LEFT

    def _parse(self, exchange: Exchange, raw: bytes) -> Body:
        if exchange.path in _FORMS:
            return request.parse_form(raw, exchange.headers.get(b"content-type", b""))
        return request.parse(raw, self._limits)


def _authorization(exchange: Exchange) -> bytes:
    """The Authorization header; Anthropic's clients send the bare key in one of their own."""
    given = exchange.headers.get(b"authorization")
    if given is None and exchange.path == PATH_MESSAGES:
        given = b"Bearer " + exchange.headers.get(b"x-api-key", b"")
    return given or b""


def _call(exchange: Exchange, model: Model, body: Body) -> Call:
    headers, path = exchange.headers, exchange.path
    return calls.call(
        exchange,
        model,
        body,
        path.encode(),
        content_type=headers.get(b"content-type"),
        accept=headers.get(b"accept"),
        streams=body.stream and path in _STREAMED,
    )


async def _refuse(exchange: Exchange, refusal: Refusal) -> None:
    """Once an answer has begun it is too late: it stays incomplete and the server cuts it."""
    body = refusal.body(exchange.dialect)
    if exchange.status is None:
        await exchange.whole(refusal.status, refusal.headers(), body)
    elif exchange.commented:
        await exchange.say(error_event(exchange.dialect, body), more=False)
