"""The ports that probes, Prometheus and the operator ask: no request makes them fail.

Each application is in good health, so that no answer of 5xx is a right one. What is asked comes
from its own OpenAPI, whether it serves that or not, and from outside of it.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import fuzzing
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import unsupported_method
from starlette.testclient import TestClient

from berth_api.server import Phase
from berth_gateway import management as gateway_pages
from berth_gateway.page import routes
from berth_gateway.page.bridge import Bridge
from berth_gateway.page.routes import Page
from berth_gateway.page.view import Gateway
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.state.board import Board
from berth_gateway.state.load import Load
from berth_gateway.state.meters import Meters
from berth_gateway.state.past import Past
from berth_gateway.state.queues import Queues
from berth_gateway.telemetry import Telemetry
from berth_operator import management as operator_pages
from berth_operator.metrics import Metrics
from berth_server.status import State, pages

Fuzz = Callable[[Callable[[], None]], None]

# No check of what an answer looks like: these pages promise nobody a schema.
CHECKS = [not_a_server_error, unsupported_method]


def of_the_gateway() -> FastAPI:
    load = Load()
    board = Board(Queues(load, Backlog(10, 1000)), Meters())
    board.publish(build([Model(key="u", name="m", endpoints=(Endpoint("e", "http://e:1", "e"),))]))
    board.synced = True
    pulse = gateway_pages.Pulse()
    pulse.over = True  # or a reader of /demand would read for ever
    queues = Queues(load, Backlog(10, 1000))
    app = gateway_pages.application(board, queues, Telemetry(load.in_flight), pulse)
    past, bridge = Past(queues), Bridge(_teapot, _running_loop())
    past.look()
    routes.attach(app, Page(board, past, bridge, Gateway("gateway", 1), open=True))
    return app


async def _teapot(scope: Any, receive: Any, send: Any) -> None:
    """What is behind the page's way to the models."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _running_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def of_the_operator() -> FastAPI:
    return operator_pages.app(alive=list, ready=list, metrics=Metrics())


def of_a_pod() -> FastAPI:
    state = State(started_seconds=0, engine_names=("engine",), phase=Phase.SERVING)
    return pages(state, lambda: 1.0, patience_seconds=0)


APPLICATIONS = {"gateway": of_the_gateway, "operator": of_the_operator, "pod": of_a_pod}


@pytest.mark.parametrize("make", APPLICATIONS.values(), ids=APPLICATIONS.keys())
def test_no_request_of_its_own_schema_or_beside_it_makes_it_fail(
    fuzz: Fuzz, make: Callable[[], FastAPI]
) -> None:
    app = make()
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    operations = [one.ok() for one in schema.get_all_operations()]
    assert operations
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    cases = st.one_of(
        [one.as_strategy(generation_mode=mode) for one in operations for mode in modes]
    )

    @fuzzing.rounds()
    @given(cases)
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    fuzz(ask)


@pytest.mark.parametrize("make", APPLICATIONS.values(), ids=APPLICATIONS.keys())
def test_no_path_at_all_makes_it_fail(fuzz: Fuzz, make: Callable[[], FastAPI]) -> None:
    with TestClient(make(), base_url="http://pod") as client:

        @fuzzing.rounds()
        @given(
            st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "BREW"]),
            st.text(max_size=30),
            st.binary(max_size=100),
        )
        def ask(method: str, path: str, body: bytes) -> None:
            assert client.request(method, "/" + quote(path), content=body).status_code < 500

        fuzz(ask)
