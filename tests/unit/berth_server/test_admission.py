import asyncio
import json

import pytest

from berth_server import variables
from berth_server.admission import Admission

KEY = b"0123456789abcdef"
BEARER = [(b"authorization", b"Bearer " + KEY)]
OTHER_HOST = ("10.0.0.7", 1234)
LOOPBACK = ("127.0.0.1", 1234)


class Engine:
    """The application behind the middleware: answers 200 once `let_go` is set."""

    def __init__(self):
        self.calls = []
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def __call__(self, scope, receive, send):
        self.calls.append(scope.get("path", scope["type"]))
        await self.let_go.wait()
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})


class Answer:
    def __init__(self, messages):
        self.messages = messages
        self.status = messages[0].get("status")
        self.headers = dict(messages[0].get("headers", []))

    @property
    def json(self):
        return json.loads(self.messages[1]["body"])


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def admission(engine, tmp_path, monkeypatch):
    key_file = tmp_path / "key"
    key_file.write_bytes(KEY + b"\n")
    monkeypatch.setenv(variables.ENGINE_KEY_FILE, str(key_file))
    monkeypatch.setenv(variables.MAX_IN_FLIGHT, "2")
    return Admission(engine)


async def ask(
    admission,
    path="/v1/completions",
    *,
    method="POST",
    headers=BEARER,
    client=OTHER_HOST,
    kind="http",
):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "path": path, "headers": headers, "client": client}
    if kind == "http":
        scope["method"] = method
    await admission(scope, None, send)
    return Answer(sent) if sent else None


@pytest.mark.parametrize(
    "path", ["/v1/models", "/metrics", "/health", "/tokenize", "/invocations", "/docs", "/"]
)
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", KEY)],
        [(b"authorization", b"Bearer wrong")],
        [(b"authorization", b"Basic " + KEY)],
        [(b"authorization", b"Bearer " + KEY + b"x")],
    ],
)
async def test_every_path_asks_for_the_key(admission, engine, path, headers):
    answer = await ask(admission, path, headers=headers)
    assert answer.status == 401
    assert answer.json["error"]["code"] == "invalid_api_key"
    assert engine.calls == []


async def test_health_is_open_to_the_pod_itself_and_to_nobody_else(admission):
    inside = await ask(admission, "/health", method="GET", headers=[], client=LOOPBACK)
    assert inside.status == 200
    outside = await ask(admission, "/health", method="GET", headers=[], client=OTHER_HOST)
    assert outside.status == 401


async def test_the_scheme_is_read_in_any_case(admission):
    assert (await ask(admission, headers=[(b"authorization", b"bearer " + KEY)])).status == 200


async def test_a_websocket_without_the_key_is_closed(admission, engine):
    answer = await ask(admission, kind="websocket", headers=[])
    assert answer.messages[0]["type"] == "websocket.close"
    assert engine.calls == []


async def test_a_full_queue_is_429_with_a_time_to_come_back(admission, engine):
    engine.let_go.clear()
    running = [asyncio.create_task(ask(admission)) for _ in range(2)]
    await asyncio.sleep(0)
    answer = await ask(admission)
    assert answer.status == 429
    assert answer.headers[b"retry-after"] == b"1"
    assert answer.json["error"]["type"] == "overloaded_error"
    engine.let_go.set()
    assert [done.status for done in await asyncio.gather(*running)] == [200, 200]
    assert (await ask(admission)).status == 200


async def test_reading_takes_no_place_in_the_queue(admission, engine):
    engine.let_go.clear()
    running = [asyncio.create_task(ask(admission)) for _ in range(2)]
    await asyncio.sleep(0)
    engine.let_go.set()
    assert (await ask(admission, "/metrics", method="GET")).status == 200
    await asyncio.gather(*running)


async def test_a_request_that_fails_or_is_cancelled_gives_its_place_back(admission, engine):
    engine.let_go.clear()
    gone = [asyncio.create_task(ask(admission)) for _ in range(2)]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    load = await ask(admission, variables.PATH_LOAD, method="GET", client=LOOPBACK)
    assert load.json == {"inFlight": 0, "draining": False}


async def test_draining_refuses_new_work_and_counts_the_old(admission, engine):
    engine.let_go.clear()
    running = asyncio.create_task(ask(admission))
    await asyncio.sleep(0)
    drain = await ask(admission, variables.PATH_DRAIN, client=LOOPBACK)
    assert drain.json == {"inFlight": 1, "draining": True}
    refused = await ask(admission)
    assert refused.status == 503
    assert refused.headers[b"retry-after"] == b"2"
    engine.let_go.set()
    assert (await running).status == 200


async def test_a_drain_can_be_taken_back(admission):
    await ask(admission, variables.PATH_DRAIN, client=LOOPBACK)
    back = await ask(admission, variables.PATH_DRAIN, method="DELETE", client=LOOPBACK)
    assert back.json == {"inFlight": 0, "draining": False}
    assert (await ask(admission)).status == 200


async def test_only_loopback_can_take_a_drain_back(admission):
    await ask(admission, variables.PATH_DRAIN, client=LOOPBACK)
    await ask(admission, variables.PATH_DRAIN, method="DELETE", client=OTHER_HOST)
    assert (await ask(admission)).status == 503


async def test_only_loopback_can_drain(admission):
    await ask(admission, variables.PATH_DRAIN, client=OTHER_HOST)
    load = await ask(admission, variables.PATH_LOAD, method="GET", client=LOOPBACK)
    assert load.json["draining"] is False


async def test_asking_for_the_load_does_not_drain(admission):
    await ask(admission, variables.PATH_DRAIN, method="GET", client=LOOPBACK)
    assert (await ask(admission)).status == 200


async def test_the_lifespan_passes_through(admission, engine):
    await ask(admission, kind="lifespan")
    assert engine.calls == ["/v1/completions"] or len(engine.calls) == 1


def test_an_empty_key_file_is_refused_at_the_start(engine, tmp_path, monkeypatch):
    (tmp_path / "key").write_text("\n")
    monkeypatch.setenv(variables.ENGINE_KEY_FILE, str(tmp_path / "key"))
    monkeypatch.setenv(variables.MAX_IN_FLIGHT, "2")
    with pytest.raises(ValueError, match="holds no engine key"):
        Admission(engine)


@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
@pytest.mark.parametrize(
    "path",
    ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters", "/adapters/sql"],
)
async def test_no_request_loads_or_unloads_an_adapter(admission, engine, path, method):
    for client in (OTHER_HOST, LOOPBACK):
        answer = await ask(admission, path, method=method, client=client)
        assert answer.status == 404
        assert answer.json["error"]["code"] == "not_found"
    assert engine.calls == []
