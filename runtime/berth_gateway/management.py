"""Probes, metrics and a page for people, on a port, a thread and a loop of their own.

A data path that is busy cannot fail a probe; one that has stopped does.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from berth_api import names
from berth_api.demand import CONTENT_TYPE, Demand
from berth_gateway.routing.snapshot import Model
from berth_gateway.state import demand
from berth_gateway.state.board import Board
from berth_gateway.state.queues import Queues
from berth_gateway.telemetry import Telemetry

BEAT_SECONDS: Final = 1.0
_IDENTITY_BYTES: Final = 8
# A loop that has not turned for so long will not turn again.
STALLED_SECONDS: Final = 60.0

_OK: Final = 200
_UNAVAILABLE: Final = 503


class Pulse:
    """Written by the data path's loop, read by the management thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at = clock()
        self.leaving = False  # SIGTERM has come
        self.over = False  # the process is about to end: streams of this port, too

    def beat(self) -> None:
        self._beat_at = self._clock()

    def stalled(self) -> bool:
        return self._clock() - self._beat_at > STALLED_SECONDS


def application(board: Board, queues: Queues, telemetry: Telemetry, pulse: Pulse) -> FastAPI:
    app = FastAPI(title="Berth gateway management", docs_url=None, redoc_url=None, openapi_url=None)
    identity = secrets.token_hex(_IDENTITY_BYTES)

    def state() -> Demand:
        return demand.demand(queues, identity, synced=board.synced)

    _add_probes(app, board, pulse)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get(names.PATH_DEMAND)
    def told(*, once: bool = False) -> Response:
        if once:
            return Response(state().wire(), media_type="application/json")
        lines = demand.lines(
            state, lambda: (board.synced, demand.stamp(queues)), lambda: pulse.over
        )
        return StreamingResponse(lines, media_type=CONTENT_TYPE)

    @app.get("/snapshot")
    def snapshot() -> dict[str, Any]:
        return {
            "synced": board.synced,
            "apiKeys": len(board.keyring),
            "models": [_shown(model, queues) for model in board.snapshot.models],
        }

    return app


def _add_probes(app: FastAPI, board: Board, pulse: Pulse) -> None:
    @app.get("/livez")
    def live() -> Response:
        if pulse.stalled():
            return _told(_UNAVAILABLE, "the data path's loop has stopped")
        return _told(_OK, "ok")

    @app.get("/readyz")
    def ready() -> Response:
        if pulse.leaving:
            return _told(_UNAVAILABLE, "leaving")
        if not board.synced:
            return _told(_UNAVAILABLE, "waiting for the first sight of the cluster")
        return _told(_OK, "ok")


def server(app: FastAPI) -> uvicorn.Server:
    """To be run in a thread, where it makes its own loop and meets no signals."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,  # for readers of /demand that do not read
    )
    return uvicorn.Server(config)


def _told(status: int, text: str) -> Response:
    return Response(text + "\n", status_code=status, media_type="text/plain")


def _shown(model: Model, queues: Queues) -> dict[str, Any]:
    """Everything but the engine key."""
    load, line = queues.load, queues.lines.get(model.key)
    ejected = load.ejected()
    return {
        "name": model.name,
        "namespace": model.namespace,
        "names": model.names,
        "adapters": model.offered,
        "phase": model.phase,
        "policy": model.policy.value,
        "held": 0 if line is None else len(line.held),
        "room": model.room,
        "endpoints": [
            {
                "key": endpoint.key,
                "url": endpoint.url,
                "name": endpoint.name,
                "servedModel": endpoint.served_model,
                "inFlight": load.in_flight.get(endpoint.key, 0),
                "ejected": endpoint.key in ejected,
            }
            for endpoint in model.endpoints
        ],
    }
