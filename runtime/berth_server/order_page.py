"""`PUT /engines` of a pool's pod: who may order, and what is answered.

Orders come over the pod's network with the pool's key; the pages beside it are open, as they are
in every pod, and say nothing that is secret.
"""

import hmac
from collections.abc import Callable
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from berth_api import names
from berth_api.pool_server import MAX_ORDERS_BYTES
from berth_server import status
from berth_server.errors import OrdersRefused, OrdersTooLate
from berth_server.pool import Pool

_UNAUTHORIZED: Final = 401
_CONFLICT: Final = 409
_TOO_LARGE: Final = 413
_UNPROCESSABLE: Final = 422


def pages(pool: Pool, key: str, clock: Callable[[], float]) -> FastAPI:
    """The status pages and the page for orders; `clock()` is monotonic seconds."""
    app = status.pages(pool, clock)

    @app.put(names.PATH_ENGINES)
    async def engines(request: Request) -> Response:
        if not permitted(request.headers.get(names.HEADER_POOL_KEY, ""), key):
            return _refusal(_UNAUTHORIZED, "the pool key is missing or wrong")
        body = await _bounded(request)
        if body is None:
            return _refusal(_TOO_LARGE, f"orders have at most {MAX_ORDERS_BYTES} bytes")
        try:
            pool.obey(body)
        except OrdersTooLate as error:
            return _refusal(_CONFLICT, str(error))
        except OrdersRefused as error:
            return _refusal(_UNPROCESSABLE, *error.problems)
        return Response(pool.snapshot(clock()).wire(), media_type="application/json")

    return app


def permitted(given: str, key: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.strip().encode(), key.encode())


async def _bounded(request: Request) -> bytes | None:
    """The body; None as soon as there is too much of it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_ORDERS_BYTES:
            return None
    return bytes(body)


def _refusal(code: int, *problems: str) -> JSONResponse:
    return JSONResponse({"problems": list(problems)}, status_code=code)
