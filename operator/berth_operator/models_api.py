"""The models API: Ollama's create, pull, copy and delete, for gateways and for nobody else.

A gateway shows that it is one by a key that both derive from the release's master key. It is
looked at before a body is read: whoever else reaches the port gets no byte parsed.
"""

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from berth_api.keys import models_api_key
from berth_api.models_api import ModelOrder, Verb
from berth_operator import management
from berth_operator.cluster import bootstrap, sync
from berth_operator.cluster.model_store import ModelStore
from berth_operator.cluster.port import KubeApi
from berth_operator.errors import ApiError, BerthError, NotFound, OrderRefused
from berth_operator.managing import Lines, Managing
from berth_operator.settings import Settings

log = logging.getLogger(__name__)

_NDJSON: Final = "application/x-ndjson"


async def run(api: KubeApi, settings: Settings) -> None:
    """Until cancelled, where there is one. `api` may write without leading."""
    if settings.models_namespace is None:
        return
    master = await _master_key(api, settings.namespace)
    application = app(Managing(ModelStore(api, settings.models_namespace)))
    guarded = Guarded(application, models_api_key(master))
    await management.serve(guarded, port=settings.models_port, setting="modelsPort")


async def _master_key(api: KubeApi, namespace: str) -> bytes:
    """Once the leader has made it."""
    found = await _made_key(api, namespace)
    while found is None:
        await asyncio.sleep(sync.RETRY_SECONDS)
        found = await _made_key(api, namespace)
    return found


async def _made_key(api: KubeApi, namespace: str) -> bytes | None:
    try:
        return await sync.patiently(partial(bootstrap.master_key, api, namespace))
    except NotFound:
        return None


class Guarded:
    """Answers 401 to whoever has not the key, whatever they ask."""

    def __init__(self, application: ASGIApp, key: str) -> None:
        self._application = application
        self._wanted = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("authorization", "").encode()
        if hmac.compare_digest(given, self._wanted):
            await self._application(scope, receive, send)
            return
        refusal = _error(HTTPStatus.UNAUTHORIZED, "this port is for Berth's gateways")
        await refusal(scope, receive, send)


def app(managing: Managing) -> FastAPI:
    application = FastAPI(title="berth-models", docs_url=None, redoc_url=None, openapi_url=None)
    application.add_exception_handler(BerthError, _refused)

    @application.post(Verb.CREATE.value)
    async def create(order: ModelOrder) -> Response:
        return await _told(await managing.create(order), stream=order.stream)

    @application.post(Verb.PULL.value)
    async def pull(order: ModelOrder) -> Response:
        return await _told(await managing.pull(order), stream=order.stream)

    @application.post(Verb.COPY.value)
    async def copy(order: ModelOrder) -> Response:
        await managing.copy(order)
        return Response()

    @application.post(Verb.DELETE.value)
    async def delete(order: ModelOrder) -> Response:
        await managing.delete(order)
        return Response()

    return application


async def _told(lines: Lines, *, stream: bool) -> Response:
    """Line by line, or the last one alone, with its status."""
    if stream:
        return StreamingResponse(_written(lines), media_type=_NDJSON)
    last: dict[str, Any] = {}
    async for line in lines:
        last = line
    bad = "error" in last
    return JSONResponse(last, HTTPStatus.INTERNAL_SERVER_ERROR if bad else HTTPStatus.OK)


async def _written(lines: Lines) -> AsyncIterator[bytes]:
    async for line in lines:
        yield json.dumps(line).encode() + b"\n"


async def _refused(_request: Request, error: Exception) -> Response:
    if isinstance(error, OrderRefused):
        return _error(error.status, str(error))
    status = (error.status if isinstance(error, ApiError) else None) or 0
    if status not in _TOLD:
        log.warning("an order failed: %s", error)
    return _error(_TOLD.get(status, HTTPStatus.SERVICE_UNAVAILABLE), str(error))


# Of the API server's answers: what the client is told. Others may be mended by another try.
_TOLD: Final[Mapping[int, HTTPStatus]] = {
    HTTPStatus.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND: HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT: HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY: HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN: HTTPStatus.INTERNAL_SERVER_ERROR,  # the operator's rights, not theirs
}


def _error(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, status)
