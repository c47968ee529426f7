"""Orders to the operator's models API and its answers back: the gateway itself writes nothing.

Orders are few, so each has a connection of its own, and none is sent twice.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from berth_api.models_api import ModelOrder, Verb
from berth_gateway import client
from berth_gateway.client import Exchange
from berth_gateway.errors import EndpointFailedError, Kind, LostError, Refusal
from berth_gateway.routing.ollama import listing, managing, question
from berth_gateway.routing.ollama.managing import Names
from berth_gateway.settings import Managers, Settings
from berth_gateway.state.board import Board
from berth_gateway.upstream.connection import Connection, Header
from berth_gateway.upstream.pool import Pool

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 2  # an operator that has just started listens by then
# For this gateway to hear of what it ordered: a client asks for its new model at once.
_HEARD_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.02
_CLIENT_LEFT: Final = 499  # nginx's, as in `app`
_RELAYED: Final = frozenset({b"content-type", b"content-length"})
_LOST: Final = b'{"error": "the operator stopped before the answer was complete; ask again"}\n'


class Manager:
    def __init__(self, board: Board, settings: Settings) -> None:
        self._board = board
        self._settings = settings
        self._pool = Pool()

    async def answer(self, exchange: Exchange, verb: Verb) -> int:
        """The status that was sent. Refusal."""
        client.require(exchange, managing.METHODS[verb])
        self._check_right(exchange)
        client.check_encoding(exchange.headers)
        raw = await client.read_body(exchange, self._settings.limits)
        if raw is None:
            return _CLIENT_LEFT
        names = Names(self._board.snapshot, exchange.key)
        order = managing.order(verb, question.body(raw, self._settings.limits), names)
        with client.Presence(exchange):
            return await self._send(exchange, verb, order)
        return _CLIENT_LEFT

    def _check_right(self, exchange: Exchange) -> None:
        if not self._settings.models_api:
            raise Refusal(Kind.NOT_HERE, _NOT_SERVED)
        if self._settings.managers is Managers.ANYONE:
            return
        if exchange.key is None or not exchange.key.manages:
            raise Refusal(Kind.NOT_ALLOWED, _NO_RIGHT)

    async def _send(self, exchange: Exchange, verb: Verb, order: ModelOrder) -> int:
        connection = await self._connect()
        try:
            first = await self._ask(connection, verb, order)
            if connection.status == HTTPStatus.UNAUTHORIZED:
                _log.error("the operator does not know this gateway's key")
                raise _unavailable("does not know this gateway's key; restart it")
            if connection.status == HTTPStatus.OK:
                await self._heard(verb, order)
            connection.limit_silence(self._settings.idle_seconds)
            await _relay(exchange, connection, first, streams=order.stream)
        finally:
            connection.lose("answered")
        return connection.status

    async def _connect(self) -> Connection:
        try:
            return await self._pool.connect(self._settings.models_api)
        except EndpointFailedError as error:
            _log.warning("the operator's models API: %s", error)
            raise _unavailable("cannot be reached") from error

    async def _ask(self, connection: Connection, verb: Verb, order: ModelOrder) -> bytes:
        """The first piece of the answer's body."""
        fields = f"content-type: application/json\r\nauthorization: Bearer {self._key()}\r\n"
        try:
            body = order.model_dump_json(by_alias=True, exclude_none=True).encode()
            connection.ask(verb.value.encode(), fields.encode(), body)
            return await connection.piece()
        except LostError as error:
            _log.warning("the operator's models API: %s", error)
            raise _unavailable("broke off") from error

    def _key(self) -> str:
        if self._board.models_key is None:
            raise _unavailable("has no key yet")
        return self._board.models_key

    async def _heard(self, verb: Verb, order: ModelOrder) -> None:
        """Until this gateway knows of a copy or a deletion; the others of theirs soon after."""
        done = _KNOWN.get(verb)
        if done is None:
            return
        for _ in range(round(_HEARD_SECONDS / _LOOK_SECONDS)):
            if done(self._board, order):
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _is_there(board: Board, order: ModelOrder) -> bool:
    return listing.find(board.snapshot, order.name) is not None


def _is_gone(board: Board, order: ModelOrder) -> bool:
    gone = order.place.uid if order.place else ""
    return all(one.key != gone for one in board.snapshot.models)


_KNOWN: Final[dict[Verb, Callable[[Board, ModelOrder], bool]]] = {
    Verb.COPY: _is_there,
    Verb.DELETE: _is_gone,
}


async def _relay(
    exchange: Exchange, connection: Connection, first: bytes, *, streams: bool
) -> None:
    """Once it has begun, a stream that breaks off ends in a line that says so."""
    await exchange.begin(connection.status, _kept(connection.headers))
    try:
        await exchange.say(first, more=not connection.whole)
        if not connection.whole:
            await exchange.relay(connection)
            await exchange.say(b"", more=False)
    except LostError:
        if streams:
            await exchange.say(_LOST, more=False)


def _kept(headers: list[Header]) -> list[Header]:
    return [header for header in headers if header[0] in _RELAYED]


def _unavailable(what: str) -> Refusal:
    message = f"the operator, which manages models, {what}; try again"
    return Refusal(Kind.MODELS_API_UNAVAILABLE, message, retry_after_seconds=_RETRY_SECONDS)


_NOT_SERVED: Final = (
    "models are not managed here: apply a ModelDeployment with kubectl to add one and delete it to "
    "remove one, or install the chart with modelsApi.enabled"
)
_NO_RIGHT: Final = (
    'this API key may not manage models: add "manage": true to its entry in the Secret '
    "berth-api-keys"
)
