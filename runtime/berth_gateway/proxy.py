"""One request to one engine and its answer back, bytes untouched but for a shared engine's name.

Another endpoint is tried only while the client has seen nothing. After the first byte a lost
engine is told as what it is: an error event in a stream, an aborted connection otherwise.
"""

import logging
import secrets
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Final, NamedTuple

from berth_gateway.client import Exchange
from berth_gateway.errors import (
    EndpointFailedError,
    Failure,
    Kind,
    LostError,
    Refusal,
    error_event,
)
from berth_gateway.routing import refusals, request, usage
from berth_gateway.routing.ejection import PAUSES
from berth_gateway.routing.prefix import Affinity
from berth_gateway.routing.renaming import Renaming
from berth_gateway.routing.snapshot import Endpoint, Model
from berth_gateway.settings import DEFAULT_IDLE_SECONDS
from berth_gateway.state.queues import Place, Queues
from berth_gateway.telemetry import Telemetry
from berth_gateway.upstream.connection import Connection, Header
from berth_gateway.upstream.pool import Pool
from berth_gateway.upstream.renamed import Renamed
from berth_gateway.waiting import Waiting

_log = logging.getLogger(__name__)

MAX_TRIES: Final = 3  # the first and two more
RETRY_SECONDS: Final = 1  # for a client, when every endpoint failed: ejections last longer

_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_DENIED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_AVOIDS: Final = frozenset({Failure.DENIED, Failure.RESET})  # the endpoint, in further tries
_NOBODY: Final = frozenset[str]()
_MAX_ERROR_BYTES: Final = 2**16  # more than any engine says of an error

# Headers of one hop (RFC 9110 section 7.6.1), and those that our own server writes.
_NOT_RELAYED: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"date", b"server", b"x-request-id",
    }
)  # fmt: skip
_CONTENT_TYPE: Final = b"content-type"
_CONTENT_LENGTH: Final = b"content-length"
_EVENT_STREAM: Final = b"text/event-stream"
_LOST: Final = Refusal(Kind.ENGINE_LOST, "the engine stopped before the answer was complete")


@dataclass(slots=True)  # frozen would cost each request a microsecond
class Call:
    """A request that was let in, ready for any of its model's endpoints. Never changed."""

    model: Model
    path: bytes
    body: bytes = field(repr=False)
    headers: bytes = field(repr=False)  # lines, each with its CRLF
    streams: bool = False  # what the client asked for
    asked: Affinity | None = None  # where the model's policy looks at it
    form: bytes | None = None  # the body's content type, where it is a form and no JSON


@dataclass(slots=True)
class Answer:
    """An engine's answer whose first byte is here and not yet sent."""

    endpoint: Endpoint
    connection: Connection
    status: int
    headers: list[Header]  # names in lower case
    first: bytes
    rest: Connection | Renamed  # what comes behind the first bytes

    @property
    def streams(self) -> bool:
        kind = next((value for name, value in self.headers if name == _CONTENT_TYPE), b"")
        return kind.lower().startswith(_EVENT_STREAM)


class Missed(NamedTuple):
    """A try that gave no answer, and what the client is told if there is no other."""

    failure: Failure
    refusal: Refusal


class Proxy:
    def __init__(
        self,
        pool: Pool,
        queues: Queues,
        waiting: Waiting,
        telemetry: Telemetry,
        *,
        idle_seconds: float = DEFAULT_IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """After `idle_seconds` without a byte an engine is lost, once its answer has begun."""
        self._pool = pool
        self._queues = queues
        self._waiting = waiting
        self._telemetry = telemetry
        self._idle_seconds = idle_seconds
        self._clock = clock
        # Other gateways' tries are told apart from ours by a word of this process.
        process = secrets.token_hex(4)
        self._tries = (f"{process}{number:x}" for number in count())

    async def forward(self, call: Call, exchange: Exchange) -> int:
        """The status sent. Refusal if no endpoint answered; no answer has been begun then.

        An endpoint that cannot be reached or is full has not served the request: it waits for
        another try, as long as any held request may. One that was lost before its first byte may
        have been lost to the request itself, so such tries are few.
        """
        self._queues.arrived(call.model)
        excluded = denied = _NOBODY
        tries_left = MAX_TRIES
        while True:
            place = await self._place(call, exchange, excluded)
            with place:
                outcome = await self._try(call, exchange, place)
            if not isinstance(outcome, Missed):
                return outcome
            tries_left -= outcome.failure not in PAUSES
            if outcome.failure in _AVOIDS:
                excluded |= {place.endpoint.key}
            if outcome.failure is Failure.DENIED:
                denied |= {place.endpoint.key}
            if not tries_left or self._everywhere(call, denied):
                raise outcome.refusal
            if self._everywhere(call, excluded):
                excluded = denied  # one that was lost may be well again

    async def load(self, call: Call, exchange: Exchange) -> None:
        """Wait until an endpoint would take the request, which then goes nowhere. Refusal."""
        self._queues.arrived(call.model)
        if not self._queues.current(call.model).endpoints:
            place = await self._place(call, exchange, _NOBODY)
            place.leave()
        self._queues.answered(call.model)

    async def _try(self, call: Call, exchange: Exchange, place: Place) -> int | Missed:
        try:
            answer = await self._ask(call, exchange, place.endpoint)
        except EndpointFailedError as error:
            return Missed(error.failure, self._note(call, exchange, place.endpoint, error))
        place.begin()
        self._arrived(call, exchange, place.endpoint)
        return await self._relay(call, answer, exchange)

    def _everywhere(self, call: Call, keys: AbstractSet[str]) -> bool:
        endpoints = self._queues.current(call.model).endpoints
        return bool(keys) and all(one.key in keys for one in endpoints)

    async def _place(self, call: Call, exchange: Exchange, excluded: AbstractSet[str]) -> Place:
        place = self._queues.take(call.model, call.asked, excluded)
        if isinstance(place, Place):
            return place
        return await self._waiting.place(
            call.model,
            exchange,
            len(call.body),
            call.asked,
            streams=call.streams,
            excluded=excluded,
        )

    async def _ask(self, call: Call, exchange: Exchange, endpoint: Endpoint) -> Answer:
        """Send the request and wait for the first byte of the answer's body.

        Waiting for the body, not only the header, keeps the retry open while a prompt is queued
        and computed.
        """
        pool, url = self._pool, endpoint.url
        connection = pool.take(url) or await pool.connect(url)
        try:
            fields = self._fields(call, exchange, endpoint)
            connection.ask(call.path, fields, _body(call, endpoint))
            first = await connection.piece()
            status, headers = connection.status, connection.headers
            answer = Answer(endpoint, connection, status, headers, first, connection)
            if first.startswith(b"data") and answer.streams:
                await _unmask(answer)
            _check_status(answer.status)
            if endpoint.served_model is not None:
                _rename(answer, endpoint.served_model, call.model.name)
        except LostError as error:
            pool.forget(url)  # the other idle connections have most often died with it
            pool.give_back(url, connection)
            raise EndpointFailedError(Failure.RESET, str(error)) from error
        except BaseException:
            pool.give_back(url, connection)
            raise
        return answer

    def _fields(self, call: Call, exchange: Exchange, endpoint: Endpoint) -> bytes:
        """Header lines of one try.

        Each try has an id of its own, with the client's in front for whoever reads logs: vLLM
        before 0.14 keys running requests by it, so two with a client's same id, or a retry of one
        that still runs, would break each other
        (https://github.com/vllm-project/vllm/pull/27987).
        """
        lines = f"x-request-id: {exchange.request_id}-{next(self._tries)}\r\n"
        key = call.model.engine_key if endpoint.served_model is None else endpoint.engine_key
        if key is not None:
            lines += f"authorization: Bearer {key}\r\n"
        return call.headers + lines.encode()

    def _arrived(self, call: Call, exchange: Exchange, endpoint: Endpoint) -> None:
        self._queues.sound(call.model, endpoint)
        seconds = self._clock() - exchange.started
        self._telemetry.first_byte(call.model.namespace, call.model.name, seconds)

    async def _relay(self, call: Call, answer: Answer, exchange: Exchange) -> int:
        connection = answer.connection
        try:
            if exchange.commented:
                if not answer.streams or answer.status != HTTPStatus.OK:
                    return await _tell_error(answer, exchange)
                exchange.commented = False
            else:
                await exchange.begin(answer.status, _relayed(answer.headers))
            whole = answer.rest.whole
            await exchange.say(answer.first, more=not whole)
            if not whole:
                connection.limit_silence(self._idle_seconds)
                await exchange.relay(answer.rest)
                await exchange.say(b"", more=False)
        except LostError as error:
            lost = EndpointFailedError(Failure.MID_STREAM, str(error))
            self._note(call, exchange, answer.endpoint, lost)
            await exchange.break_off(_LOST, connection.tail, streams=answer.streams)
        else:
            self._queues.answered(call.model)
            self._count_tokens(call, exchange, connection.tail)
        finally:
            self._pool.give_back(answer.endpoint.url, connection)
        return answer.status

    def _count_tokens(self, call: Call, exchange: Exchange, tail: bytes) -> None:
        counted = usage.counted(tail)
        if counted is not None:
            model = call.model
            self._telemetry.used(model.namespace, model.name, exchange.key_id, counted)

    def _note(
        self, call: Call, exchange: Exchange, endpoint: Endpoint, error: EndpointFailedError
    ) -> Refusal:
        """Count and log a failed try; what the client is told if no other try succeeds."""
        model = call.model
        self._telemetry.failed(model.namespace, model.name, error.failure.value)
        self._queues.failed(model, endpoint, error.failure)
        level = logging.ERROR if error.failure is Failure.DENIED else logging.WARNING
        _log.log(level, "%s at %s: %s", exchange.request_id, endpoint.name, error)
        if error.failure is Failure.DENIED:
            message = f"an engine of {model.name} does not accept the gateway's key"
            return Refusal(Kind.ENGINE_DENIED, message)
        return Refusal(
            Kind.ENGINE_UNAVAILABLE,
            f"no replica of {model.name} could be reached; try again",
            retry_after_seconds=RETRY_SECONDS,
        )


async def _unmask(answer: Answer) -> None:
    """Give a busy engine's refusal the status that it would have, had the engine known in time."""
    if not refusals.looks_refused(answer.first):
        return
    while refusals.is_cut(answer.first) and (more := await answer.connection.piece()):
        answer.first += more
    refused = refusals.refused(answer.first)
    if refused is None or refused.status not in _BUSY:
        return
    answer.status = refused.status


def _check_status(status: int) -> None:
    """EndpointFailedError for answers that are about the endpoint and not about the request."""
    if status in _DENIED:
        raise EndpointFailedError(Failure.DENIED, f"status {status}")
    if status in _BUSY:
        raise EndpointFailedError(Failure.BUSY, f"status {status}")


def _body(call: Call, endpoint: Endpoint) -> bytes:
    """Named anew where the engine has another name for the model: it may be shared."""
    name = endpoint.served_model
    if name is None:
        return call.body
    return request.renamed(call.body, name, form_type=call.form)


def _rename(answer: Answer, theirs: str, ours: str) -> None:
    """Have it tell the model by our name; its length is known only if all of it is here."""
    rest = Renamed(answer.connection, Renaming(theirs, ours))
    answer.first, answer.rest = rest.begin(answer.first), rest
    headers = [one for one in answer.headers if one[0] != _CONTENT_LENGTH]
    if rest.whole:
        headers.append((_CONTENT_LENGTH, b"%d" % len(answer.first)))
    answer.headers = headers


def _relayed(headers: list[Header]) -> list[Header]:
    return [header for header in headers if header[0] not in _NOT_RELAYED]


async def _tell_error(answer: Answer, exchange: Exchange) -> int:
    """An engine's error, or its answer in one piece, to a client that has a stream already.

    One that is too large stays unsaid: the server then cuts the connection.
    """
    body = answer.first
    while len(body) < _MAX_ERROR_BYTES and (more := await answer.rest.piece()):
        body += more
    if answer.connection.whole:
        await exchange.say(error_event(exchange.dialect, body), more=False)
    return answer.status
