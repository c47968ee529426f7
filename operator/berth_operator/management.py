"""The operator's own port: is it alive, is it ready, what has it counted. Serves nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import uvicorn
from fastapi import FastAPI, Query, Response, status
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp

from berth_operator.errors import ConfigurationError
from berth_operator.metrics import Metrics

Problems = Callable[[], list[str]]
"""What is wrong right now, in words; empty when all is well."""

Names = Annotated[list[str] | None, Query(alias="name[]")]
"""As Prometheus's own clients serve them: only these metrics."""

_GRACE_SECONDS: Final = 1  # for a scrape in progress at the end of the process


def app(*, alive: Problems, ready: Problems, metrics: Metrics) -> FastAPI:
    application = FastAPI(title="berth-operator", docs_url=None, redoc_url=None, openapi_url=None)

    @application.get("/livez")
    async def livez() -> PlainTextResponse:
        return _verdict(alive())

    @application.get("/readyz")
    async def readyz() -> PlainTextResponse:
        return _verdict(alive() + ready())

    @application.get("/metrics")
    async def scrape(names: Names = None) -> Response:
        """Of ten thousand models all of it takes a second; `name[]` asks for some of it."""
        asked = metrics.registry.restricted_registry(names) if names else metrics.registry
        return Response(generate_latest(asked), media_type=CONTENT_TYPE_LATEST)

    return application


async def serve(application: ASGIApp, *, port: int, setting: str = "managementPort") -> None:
    """Until cancelled; ConfigurationError names the `setting` if the port is taken."""
    config = uvicorn.Config(
        application,
        host="",  # every address of the pod, of both families
        port=port,
        log_level="warning",
        lifespan="off",  # nothing to open or close
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    try:
        await _Server(config).serve()
    except SystemExit as end:  # uvicorn's word for a port that it cannot have
        raise ConfigurationError(
            f"cannot listen on port {port}: is it taken? Set {setting} to another"
        ) from end


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process's signals are the entry point's."""
        yield


def _verdict(problems: list[str]) -> PlainTextResponse:
    if not problems:
        return PlainTextResponse("ok\n")
    return PlainTextResponse(
        "".join(f"{problem}\n" for problem in problems),
        status_code=status.HTTP_500_INTERNAL_SERVER_ERROR,
    )
