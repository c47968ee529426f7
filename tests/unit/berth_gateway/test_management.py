import json

import pytest
from fastapi.routing import APIRoute

from berth_gateway import management
from berth_gateway.errors import Failure
from berth_gateway.management import Pulse
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.state.board import Board
from berth_gateway.state.load import Load
from berth_gateway.state.meters import Meters
from berth_gateway.state.queues import Queues
from berth_gateway.telemetry import Telemetry


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """The management application's parts, and its answers without a socket."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.load = Load(self.clock)
        self.queues = Queues(self.load, Backlog(10, 1000))
        self.board = Board(self.queues, Meters())
        self.pulse = Pulse(self.clock)
        telemetry = Telemetry(self.load.in_flight)
        app = management.application(self.board, self.queues, telemetry, self.pulse)
        self._routes = {one.path: one.endpoint for one in app.routes if isinstance(one, APIRoute)}

    def get(self, path: str):
        return self._routes[path]()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_ready_only_after_the_first_sight_of_the_world(desk) -> None:
    assert desk.get("/readyz").status_code == 503
    desk.board.synced = True
    assert desk.get("/readyz").status_code == 200


def test_not_ready_any_more_once_it_is_leaving(desk) -> None:
    desk.board.synced = True
    desk.pulse.leaving = True

    assert desk.get("/readyz").status_code == 503
    assert desk.get("/livez").status_code == 200


def test_live_while_the_data_paths_loop_turns(desk) -> None:
    desk.clock.now = 59.0
    assert desk.get("/livez").status_code == 200
    desk.clock.now = 61.0
    assert desk.get("/livez").status_code == 503
    desk.pulse.beat()
    assert desk.get("/livez").status_code == 200


def test_metrics_hold_what_is_in_flight_now(desk) -> None:
    desk.load.enter("a")
    text = desk.get("/metrics").body.decode()

    assert "berth_gateway_requests_in_flight 1.0" in text


def test_the_snapshot_shows_everything_but_keys(desk) -> None:
    endpoint = Endpoint("uid-1", "http://10.0.0.1:8000", "pod-1", "a1b2", "s3cret too")
    other = Endpoint("uid-2", "http://10.0.0.2:8000", "pod-2")
    model = Model(key="u", name="llama", engine_key="s3cret", endpoints=(endpoint, other))
    desk.board.publish(build([model]))
    desk.load.failed(endpoint, Failure.CONNECT, model.endpoints)
    desk.load.enter("uid-1")
    shown = desk.get("/snapshot")

    assert (shown["models"][0]["held"], shown["models"][0]["policy"]) == (0, "LeastInFlight")
    assert shown["models"][0]["endpoints"][:1] == [
        {
            "key": "uid-1",
            "url": "http://10.0.0.1:8000",
            "name": "pod-1",
            "servedModel": "a1b2",
            "inFlight": 1,
            "ejected": True,
        }
    ]
    assert "s3cret" not in json.dumps(shown)
