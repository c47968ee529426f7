"""An ASGI middleware inside the engine: who may ask, how many at once, and no more when draining.

vLLM loads it with `--middleware` as its outermost layer. It imports the standard library only,
reads no body and answers a refusal before any header of the engine's is sent.

The wrapper reads the count and starts the drain over two paths of its own, on loopback and with
the engine key: they live in the loop that serves the requests, so a count is exact, a reply proves
that the loop turns, and there is no second socket or signal handler to lose.
"""

import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from berth_server import variables

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A place in a full queue is free within a second or so; the gateway adds its own jitter.
FULL_RETRY_SECONDS: Final = 1
# A draining pod has left the endpoints by then.
DRAINING_RETRY_SECONDS: Final = 2
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
# Kubelet's and a user's own curl of these from inside the pod need no key.
_OPEN_ON_LOOPBACK: Final = frozenset({"/health"})
# Methods on the drain's path: a pool may want an engine back that it was about to unload.
_DRAINS: Final = {"POST": True, "DELETE": False}
# The engine opens these where it may load adapters when they are asked for, and from any folder.
_SHUT: Final = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters")
_POLICY_VIOLATION: Final = 1008  # RFC 6455 §7.4.1


@dataclass(frozen=True)
class _Refusal:
    status: int
    kind: str
    code: str
    message: str
    retry_seconds: int | None = None


_NO_KEY: Final = _Refusal(
    401, "invalid_request_error", "invalid_api_key", "the engine key is missing or wrong"
)
_NOT_SERVED: Final = _Refusal(
    404, "invalid_request_error", "not_found", "adapters come with spec.adapters, and by no request"
)
_DRAINING: Final = _Refusal(
    503,
    "overloaded_error",
    "draining",
    "this replica is draining; another one takes new requests",
    DRAINING_RETRY_SECONDS,
)


def _full(limit: int) -> _Refusal:
    text = f"this replica's queue is full: {limit} requests are running or waiting"
    return _Refusal(429, "overloaded_error", "queue_full", text, FULL_RETRY_SECONDS)


class Admission:
    """`Admission(app)`, as Starlette calls it; settings come from the environment."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._key = Path(os.environ[variables.ENGINE_KEY_FILE]).read_bytes().strip()
        self._limit = int(os.environ[variables.MAX_IN_FLIGHT])
        self._in_flight = 0
        self._draining = False
        if not self._key:
            raise ValueError(f"{os.environ[variables.ENGINE_KEY_FILE]} holds no engine key")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif not self._permitted(scope):
            await _refuse(scope, send, _NO_KEY)
        elif _is_local(scope) and scope["path"] in (variables.PATH_LOAD, variables.PATH_DRAIN):
            await self._control(scope, send)
        elif scope["path"].startswith(_SHUT):
            await _refuse(scope, send, _NOT_SERVED)
        elif scope.get("method", "POST") != "POST":
            await self._app(scope, receive, send)  # lists, metrics and health take no place
        else:
            await self._admit(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._draining:
            await _refuse(scope, send, _DRAINING)
            return
        if self._in_flight >= self._limit:
            await _refuse(scope, send, _full(self._limit))
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    async def _control(self, scope: Scope, send: Send) -> None:
        if scope["path"] == variables.PATH_DRAIN:
            self._draining = _DRAINS.get(scope.get("method", ""), self._draining)
        load = {"inFlight": self._in_flight, "draining": self._draining}
        await _reply(send, 200, load)

    def _permitted(self, scope: Scope) -> bool:
        if _is_local(scope) and scope["path"] in _OPEN_ON_LOOPBACK:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        # Every key is compared, also behind a wrong scheme, in constant time.
        return hmac.compare_digest(key.strip(), self._key) and scheme.lower() == b"bearer"


def _is_local(scope: Scope) -> bool:
    host, _ = scope.get("client") or ("", 0)
    return host in _LOOPBACK


async def _refuse(scope: Scope, send: Send, refusal: _Refusal) -> None:
    if scope["type"] == "websocket":
        reason = refusal.message
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
        return
    error = {"message": refusal.message, "type": refusal.kind, "param": None, "code": refusal.code}
    retry = refusal.retry_seconds
    extra = [] if retry is None else [(b"retry-after", str(retry).encode())]
    await _reply(send, refusal.status, {"error": error}, extra)


async def _reply(
    send: Send, status: int, body: dict[str, Any], extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    payload = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(payload)).encode()),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
