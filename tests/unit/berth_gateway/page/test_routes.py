"""The page's paths: open files, data for keys, and the way to the models."""

import re
from importlib import resources
from typing import Any

import pytest
from starlette.testclient import TestClient

from berth_gateway import management
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
from berth_gateway.world import keys

MODELS = [
    Model(key="1", name="llama", namespace="team", endpoints=(Endpoint("a", "http://a", "a"),)),
    Model(key="2", name="qwen", namespace="team"),
]
FILES = resources.files("berth_gateway.page").joinpath("files")


class Asked:
    """An application behind the bridge, in the asking loop itself."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def page_of(board: Board, loop: Any, app: Any, *, is_open: bool = False) -> TestClient:
    queues = board.queues
    served = management.application(board, queues, Telemetry({}), management.Pulse())
    past = Past(queues)
    past.look()
    page = Page(board, past, Bridge(app, loop), Gateway("gateway-1", 1), open=is_open)
    routes.attach(served, page)
    return TestClient(served, base_url="http://gateway", follow_redirects=False)


@pytest.fixture
def board() -> Board:
    made = Board(Queues(Load(), Backlog(10, 1000)), Meters())
    made.publish(build(MODELS))
    limited = keys.entry("two", {"sha256": keys.plain("", "sk-two").sha256, "models": ["qwen"]})
    made.admit_keys([keys.plain("one", "sk-one"), limited])
    return made


@pytest.fixture
def client(board) -> TestClient:
    return page_of(board, None, Asked())


@pytest.mark.parametrize("path", ["/", "/ui"])
def test_the_port_leads_to_the_page(client, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")


@pytest.mark.parametrize("name", ["", *sorted(one.name for one in FILES.iterdir())])
def test_every_file_is_open_and_may_do_nothing_but_its_own(client, name: str) -> None:
    answer = client.get(f"/ui/{name}")
    policy = answer.headers["content-security-policy"]

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(("text/", "image/svg+xml"))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_what_the_page_asks_for_is_in_the_package(client) -> None:
    """Relative names in the markup and in imports; and nothing of another origin."""
    known = {one.name: one.read_text(encoding="utf-8") for one in FILES.iterdir()}
    wanted = {
        name
        for text in known.values()
        for name in re.findall(r'(?:src|href|from) ?=? ?"(?:\./)?([\w.-]+\.\w+)"', text)
    }

    assert {"main.js", "style.css", "icon.svg", "stream.js"} <= wanted <= known.keys()
    assert not any(re.search(r'(src|href)="(https?:)?//', text) for text in known.values())
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", known["index.html"])


@pytest.mark.parametrize("name", ["nothing.js", "..%2f__init__.py", "%2e%2e", "style.css%00"])
def test_there_is_no_other_file(client, name: str) -> None:
    assert client.get(f"/ui/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/ui/state", "/ui/history"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-nobody"}])
def test_data_needs_a_key(client, path: str, headers: dict) -> None:
    answer = client.get(path, headers=headers)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "llama" not in answer.text


def test_a_key_sees_its_models(client) -> None:
    def names(key: str) -> list[str]:
        answer = client.get("/ui/state", headers={"authorization": f"Bearer {key}"})
        assert answer.headers["cache-control"] == "no-store"
        return [one["id"] for one in answer.json()["models"]]

    assert names("sk-one") == ["llama", "qwen"]
    assert names("sk-two") == ["qwen"]


def test_without_keys_everybody_sees_all(board) -> None:
    told = page_of(board, None, Asked(), is_open=True).get("/ui/state").json()

    assert (told["key"], len(told["models"])) == (None, 2)


def test_the_past_is_of_one_model_or_of_all(client) -> None:
    def points(query: str, key: str = "sk-one") -> list[list[int]]:
        headers = {"authorization": f"Bearer {key}"}
        return client.get(f"/ui/history{query}", headers=headers).json()["points"]

    assert points("") == points("?model=llama") == [[0, 0, 0, 1]]
    assert points("?model=qwen") == [[0, 0, 0, 0]]
    assert points("?model=nobody") == points("?model=llama", "sk-two") == []


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/api/generate"])
def test_requests_for_models_are_the_data_paths(board, path: str) -> None:
    asked = Asked()
    client = page_of(board, None, asked)
    with client:
        bridge = client.app.routes[-1].app
        bridge._loop = client.portal.call(_loop)
        assert client.post(path).status_code == 418
    assert asked.paths == [path]


async def _loop() -> Any:
    import asyncio

    return asyncio.get_running_loop()


def test_what_was_at_the_port_before_is_there_still(client) -> None:
    assert client.get("/livez").status_code == 200
    assert "berth_gateway" in client.get("/metrics").text
    assert client.get("/snapshot").json()["apiKeys"] == 2
