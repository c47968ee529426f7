import socket

import pytest
from fastapi.testclient import TestClient

from berth_operator import management
from berth_operator.errors import ConfigurationError
from berth_operator.metrics import Metrics


def client(*, alive: list[str] | None = None, ready: list[str] | None = None) -> TestClient:
    metrics = Metrics()
    metrics.writes.labels(kind="Service", method="PATCH").inc()
    return TestClient(
        management.app(alive=lambda: alive or [], ready=lambda: ready or [], metrics=metrics)
    )


def test_all_is_well() -> None:
    for path in ("/livez", "/readyz"):
        answer = client().get(path)
        assert (answer.status_code, answer.text) == (200, "ok\n")


def test_an_operator_that_is_not_ready_is_alive() -> None:
    found = client(ready=["the first lists are not read yet"])
    assert found.get("/livez").status_code == 200
    answer = found.get("/readyz")
    assert (answer.status_code, answer.text) == (500, "the first lists are not read yet\n")


def test_an_operator_that_is_stuck_is_neither() -> None:
    found = client(alive=["a look has taken 200 s"])
    assert found.get("/livez").status_code == 500
    assert found.get("/readyz").status_code == 500


def test_metrics_are_prometheus_text() -> None:
    text = client().get("/metrics").text
    assert 'berth_operator_writes_total{kind="Service",method="PATCH"} 1.0' in text


def test_a_scrape_may_ask_for_some_by_name() -> None:
    text = client().get("/metrics", params={"name[]": "berth_operator_leading"}).text
    assert "berth_operator_leading 0.0" in text
    assert "berth_operator_writes_total" not in text


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on port {port}"):
            await management.serve(
                management.app(alive=list, ready=list, metrics=Metrics()), port=port
            )
