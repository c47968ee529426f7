"""One request to one engine and its answer back, bytes untouched.

Another endpoint is tried only while the client has seen nothing. After the first byte a lost
engine is told as what it is: an error event in a stream, an aborted connection otherwise.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp

from berth_gateway import upstream
from berth_gateway.asgi import Message, Send
from berth_gateway.errors import EndpointFailedError, Failure, Kind, Refusal
from berth_gateway.routing.pick import NoneLeft, pick
from berth_gateway.routing.snapshot import Endpoint, Model
from berth_gateway.settings import DEFAULT_IDLE_SECONDS
from berth_gateway.telemetry import Telemetry
from berth_gateway.world.load import Load

_log = logging.getLogger(__name__)

MAX_TRIES: Final = 3  # the first and two more
RETRY_SECONDS: Final = 1  # for a client, when every endpoint failed: ejections last longer

_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_DENIED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
# After a reset the same endpoint may be tried again: most often a kept connection was stale.
# After the others it would only say the same.
_EXCLUDES: Final = frozenset({Failure.CONNECT, Failure.BUSY, Failure.DENIED})

# Headers of one hop (RFC 9110 section 7.6.1), and those that our own server writes.
_NOT_RELAYED: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"date", b"server", b"x-request-id",
    }
)  # fmt: skip
_EVENT_STREAM: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in, ready for any of its model's endpoints."""

    model: Model
    path: str
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    request_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An engine's answer whose first byte is here and not yet sent."""

    endpoint: Endpoint
    response: aiohttp.ClientResponse
    first: bytes


class Proxy:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        load: Load,
        telemetry: Telemetry,
        idle_seconds: float = DEFAULT_IDLE_SECONDS,
    ) -> None:
        """After `idle_seconds` without a byte an engine is lost, once its answer has begun."""
        self._session = session
        self._load = load
        self._telemetry = telemetry
        self._idle_seconds = idle_seconds

    async def forward(self, call: Call, send: Send, on_first_byte: Callable[[], None]) -> int:
        """The status sent. Refusal if no endpoint answered; nothing has been sent then."""
        excluded: set[str] = set()
        refusal = Refusal(Kind.INTERNAL, "no endpoint was tried")
        for tries_left in reversed(range(MAX_TRIES)):
            picked = pick(call.model.endpoints, self._load.view(excluded))
            if isinstance(picked, NoneLeft):
                break
            alone = len(excluded) + 1 == len(call.model.endpoints)
            try:
                with self._load.at(picked.endpoint):
                    answer = await self._ask(call, picked.endpoint, last=alone or not tries_left)
                    on_first_byte()
                    return await self._relay(call, answer, send)
            except EndpointFailedError as error:
                refusal = self._note(call, picked.endpoint, error)
                if error.failure in _EXCLUDES:
                    excluded.add(picked.endpoint.key)
        raise refusal

    async def _ask(self, call: Call, endpoint: Endpoint, *, last: bool) -> Answer:
        """Send the request and wait for the first byte of the answer's body.

        Waiting for the body, not only the header, keeps the retry open while a prompt is queued
        and computed. On the `last` try a busy engine's refusal is the client's answer.
        """
        try:
            response = await self._session.post(
                endpoint.url + call.path,
                data=call.body,
                headers=call.headers | {"x-request-id": _engine_request_id(call)},
                allow_redirects=False,
            )
        except upstream.CONNECT_ERRORS as error:
            raise EndpointFailedError(Failure.CONNECT, str(error)) from error
        except upstream.LOST_ERRORS as error:
            raise EndpointFailedError(Failure.RESET, str(error)) from error
        try:
            _check_status(response.status, last=last)
            return Answer(endpoint, response, await response.content.readany())
        except upstream.LOST_ERRORS as error:
            response.close()
            raise EndpointFailedError(Failure.RESET, str(error)) from error
        except BaseException:
            response.close()
            raise

    async def _relay(self, call: Call, answer: Answer, send: Send) -> int:
        response, chunk = answer.response, answer.first
        content = response.content
        try:
            await send(_head(response, call.request_id))
            while not content.at_eof():
                await send(_body(chunk, more=True))
                async with asyncio.timeout(self._idle_seconds):
                    chunk = await content.readany()
            await send(_body(chunk, more=False))
        except upstream.LOST_ERRORS as error:
            self._note(call, answer.endpoint, EndpointFailedError(Failure.MID_STREAM, repr(error)))
            await _tell_lost(response, chunk, send)
        else:
            self._load.answered(answer.endpoint)
        finally:
            response.close()  # at its end the connection is back in the pool already
        return response.status

    def _note(self, call: Call, endpoint: Endpoint, error: EndpointFailedError) -> Refusal:
        """Count and log a failed try; what the client is told if no other try succeeds."""
        model = call.model
        self._telemetry.failed(model.namespace, model.name, error.failure.value)
        self._load.failed(endpoint, error.failure)
        level = logging.ERROR if error.failure is Failure.DENIED else logging.WARNING
        _log.log(level, "%s at %s: %s", call.request_id, endpoint.name, error)
        if error.failure is Failure.DENIED:
            message = f"an engine of {model.name} does not accept the gateway's key"
            return Refusal(Kind.ENGINE_DENIED, message)
        return Refusal(
            Kind.ENGINE_UNAVAILABLE,
            f"no replica of {model.name} could be reached; try again",
            retry_after_seconds=RETRY_SECONDS,
        )


def _engine_request_id(call: Call) -> str:
    """One of its own for each try, with the client's in front for whoever reads logs.

    vLLM before 0.14 keys running requests by it, so two with a client's same id, or a retry of
    one that still runs, would break each other (https://github.com/vllm-project/vllm/pull/27987).
    """
    return f"{call.request_id}-{secrets.token_hex(4)}"


def _check_status(status: int, *, last: bool) -> None:
    """EndpointFailedError for answers that are about the endpoint and not about the request."""
    if status in _DENIED:
        raise EndpointFailedError(Failure.DENIED, f"status {status}")
    if status in _BUSY and not last:
        raise EndpointFailedError(Failure.BUSY, f"status {status}")


def _head(response: aiohttp.ClientResponse, request_id: str) -> Message:
    lowered = ((name.lower(), value) for name, value in response.raw_headers)
    headers = [(name, value) for name, value in lowered if name not in _NOT_RELAYED]
    headers.append((b"x-request-id", request_id.encode()))
    return {"type": "http.response.start", "status": response.status, "headers": headers}


def _body(chunk: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


async def _tell_lost(response: aiohttp.ClientResponse, sent: bytes, send: Send) -> None:
    """End a stream with an error event and without [DONE].

    Any other answer is left incomplete: the server then cuts the connection, which no client can
    take for the end of a body.
    """
    if response.content_type != _EVENT_STREAM:
        return
    refusal = Refusal(Kind.ENGINE_LOST, "the engine stopped before the answer was complete")
    # The engine may have died inside an event: an empty line keeps ours apart from it.
    gap = b"" if sent.endswith(b"\n\n") else b"\n\n"
    await send(_body(gap + b"data: " + refusal.body() + b"\n\n", more=False))
