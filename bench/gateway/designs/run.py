"""`python3 -m bench.gateway.designs.run DESIGN --port P --endpoints H:P,... --keys FILE`."""

import argparse
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server as Granian

from bench.gateway.designs.applications import (
    Application,
    ThroughAiohttp,
    ThroughOwnConnection,
)
from bench.gateway.designs.policy import Policy
from berth_gateway import server
from berth_gateway.settings import AuthMode, Settings


class Design(Enum):
    """Server and way to the engine; the values are what the table calls them."""

    AIOHTTP = "uvicorn-aiohttp"
    OWN = "uvicorn-own"  # over ASGI alone
    DIRECT = "uvicorn-direct"  # with the server's own extension for streams
    GRANIAN = "granian-own"


_APPLICATIONS: dict[Design, Callable[[Policy], Application]] = {
    Design.AIOHTTP: ThroughAiohttp,
    Design.OWN: ThroughOwnConnection,
    Design.DIRECT: ThroughOwnConnection,
    Design.GRANIAN: ThroughOwnConnection,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.gateway.designs.run")
    parser.add_argument("design", type=Design)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--endpoints", required=True)
    parser.add_argument("--keys", type=Path, required=True)
    options = parser.parse_args()
    policy = Policy(options.keys, options.endpoints.split(","))
    app = _APPLICATIONS[options.design](policy)
    uvloop.run(_serve(options.design, app, options.port))


async def _serve(design: Design, app: Any, port: int) -> None:
    if design is Design.GRANIAN:
        granian = Granian(
            app,
            address="127.0.0.1",
            port=port,
            interface=Interfaces.ASGINL,
            backlog=server.BACKLOG,
            backpressure=server.BACKLOG,  # its default takes 128 requests at a time
            log_enabled=False,
        )
        await granian.serve()
        return
    await _uvicorn(design, app, port).serve()


def _uvicorn(design: Design, app: Any, port: int) -> uvicorn.Server:
    http: Any = "httptools"
    if design is Design.DIRECT:
        settings = Settings(routes=None, keys=None, namespace="", auth=AuthMode.NONE)
        http = server.data_server(app, settings).config.http
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            loop="none",
            http=http,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            backlog=server.BACKLOG,
        )
    )


if __name__ == "__main__":
    main()
