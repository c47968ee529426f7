"""The models API over HTTP: who gets in, and what statuses and bodies are."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from builders import configured
from fakes.cluster import FakeCluster
from fastapi.testclient import TestClient

from berth_api.keys import models_api_key
from berth_operator import models_api
from berth_operator.errors import Conflict, Denied, OrderRefused, Unavailable

KEY = models_api_key(b"m" * 32)
ORDER = {"name": "mario"}


class Scripted:
    """In the place of Managing: gives lines, or raises."""

    def __init__(self, *lines: dict[str, Any], error: Exception | None = None) -> None:
        self._lines = lines
        self._error = error
        self.orders: list[Any] = []

    async def _carry_out(self, order: Any) -> AsyncIterator[dict[str, Any]]:
        self.orders.append(order)
        if self._error is not None:
            raise self._error
        return self._each()

    create = pull = copy = delete = _carry_out

    async def _each(self) -> AsyncIterator[dict[str, Any]]:
        for line in self._lines:
            yield line


def client(scripted: Scripted, key: str = KEY) -> TestClient:
    guarded = models_api.Guarded(models_api.app(scripted), KEY)
    return TestClient(guarded, headers={"authorization": f"Bearer {key}"})


def test_a_stream_is_a_line_for_each() -> None:
    scripted = Scripted({"status": "pulling manifest"}, {"status": "success"})
    answer = client(scripted).post("/api/pull", json=ORDER)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.text == '{"status": "pulling manifest"}\n{"status": "success"}\n'
    assert scripted.orders[0].name == "mario"


def test_without_a_stream_the_last_line_is_the_answer() -> None:
    scripted = Scripted({"status": "pulling manifest"}, {"status": "success"})
    answer = client(scripted).post("/api/create", json=ORDER | {"stream": False})
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})


def test_without_a_stream_an_error_has_a_status() -> None:
    scripted = Scripted({"status": "pulling manifest"}, {"error": "there is no a/b"})
    answer = client(scripted).post("/api/pull", json=ORDER | {"stream": False})
    assert (answer.status_code, answer.json()) == (500, {"error": "there is no a/b"})


@pytest.mark.parametrize("path", ["/api/copy", "/api/delete"])
def test_copy_and_delete_are_answered_without_a_body(path: str) -> None:
    answer = client(Scripted()).post(path, json=ORDER)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("key", ["", "x", KEY[:-1], KEY + "0", "é"])
@pytest.mark.parametrize("path", ["/api/delete", "/", "/openapi.json"])
def test_whoever_has_not_the_gateways_key_gets_nowhere(key: str, path: str) -> None:
    scripted = Scripted()
    answer = client(scripted, KEY).post(
        path, content=b"{", headers={"authorization": f"Bearer {key}".encode()}
    )
    assert (answer.status_code, answer.json()["error"]) == (
        401,
        "this port is for Berth's gateways",
    )
    assert scripted.orders == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OrderRefused(409, "taken"), 409),
        (Conflict("changed", status=409), 409),
        (Denied("spec.x: Invalid value", status=422), 400),
        (Denied("serviceaccount cannot patch", status=403), 500),
        (Unavailable("no answer"), 503),
        (Unavailable("etcd", status=500), 503),
    ],
)
def test_errors_have_ollamas_shape(error: Exception, status: int) -> None:
    answer = client(Scripted(error=error)).post("/api/delete", json=ORDER)
    assert (answer.status_code, answer.json()) == (status, {"error": str(error)})


async def test_where_no_namespace_is_set_there_is_none() -> None:

    await models_api.run(FakeCluster(), configured())
