import json

import pytest
from fastapi.testclient import TestClient

from berth_api import names
from berth_api.pool_server import MAX_ORDERS_BYTES
from berth_api.server import Phase, PodStatus
from berth_server import order_page
from berth_server.errors import OrdersRefused, OrdersTooLate

KEY = "pool-key"
HEADERS = {names.HEADER_POOL_KEY: KEY}


class FakePool:
    phase = Phase.SERVING
    ready = True
    may_become_ready = False

    def __init__(self, refuses=None):
        self.obeyed = []
        self.refuses = refuses

    def obey(self, body):
        if self.refuses:
            raise self.refuses
        self.obeyed.append(body)

    def snapshot(self, now_seconds):
        return PodStatus(phase=self.phase, sequence=len(self.obeyed))


def put(pool, body=b"{}", headers=HEADERS):
    client = TestClient(order_page.pages(pool, KEY, lambda: 0.0))
    return client.put("/engines", content=body, headers=headers)


def test_orders_are_answered_with_the_pods_status():
    pool = FakePool()
    reply = put(pool, b"orders")
    assert reply.status_code == 200
    assert PodStatus.model_validate_json(reply.content).sequence == 1
    assert pool.obeyed == [b"orders"]


@pytest.mark.parametrize("given", ["", "wrong", f"Bearer {KEY}", f"{KEY}x", KEY[:-1], "ä"])
def test_who_has_no_pool_key_orders_nothing(given):
    pool = FakePool()
    reply = put(pool, headers={names.HEADER_POOL_KEY: given.encode()})
    assert reply.status_code == 401
    assert pool.obeyed == []


def test_a_key_that_a_forwarder_may_keep_to_itself_is_no_pool_key():
    pool = FakePool()
    assert put(pool, headers={"Authorization": f"Bearer {KEY}"}).status_code == 401
    assert pool.obeyed == []


def test_a_body_that_is_too_large_is_not_read():
    pool = FakePool()
    assert put(pool, b"x" * (MAX_ORDERS_BYTES + 1)).status_code == 413
    assert put(pool, b"x" * MAX_ORDERS_BYTES).status_code == 200


@pytest.mark.parametrize(
    ("error", "code", "problems"),
    [
        (OrdersTooLate("sequence 3"), 409, ["sequence 3"]),
        (OrdersRefused(["one", "two"]), 422, ["one", "two"]),
    ],
)
def test_what_is_not_obeyed_says_why(error, code, problems):
    reply = put(FakePool(error))
    assert (reply.status_code, json.loads(reply.content)) == (code, {"problems": problems})


def test_the_status_pages_need_no_key():
    client = TestClient(order_page.pages(FakePool(), KEY, lambda: 0.0))
    assert [client.get(path).status_code for path in ("/status", "/readyz", "/livez")] == [200] * 3
