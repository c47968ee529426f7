"""The proxy of the fault suite does what its rules say: else the other tests would prove nothing."""

import http.client
import json
import time

import pytest
from fault_proxy import (
    Answer,
    Call,
    Delay,
    ErrorEvent,
    FaultProxy,
    HalfOpen,
    Reset,
    TruncatedLine,
    status_answer,
)
from operator_process import account_token
from operator_site import Site

SILENT_SECONDS = 1.0
PATIENCE_SECONDS = 30.0


@pytest.fixture
def client(site: Site, proxy: FaultProxy) -> "Client":
    return Client(site, proxy)


class Client:
    """The operator's account, without an operator."""

    def __init__(self, site: Site, proxy: FaultProxy) -> None:
        self._site = site
        self._address = proxy.url.removeprefix("http://")
        self._headers = {"Authorization": f"Bearer {account_token(site.kubectl, site.namespace)}"}

    def get(self, query: str = "", seconds: float = PATIENCE_SECONDS) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._address, timeout=seconds)
        path = f"/api/v1/namespaces/{self._site.namespace}/pods{query}"
        connection.request("GET", path, headers=self._headers)
        return connection.getresponse()

    def watch(self) -> http.client.HTTPResponse:
        """Open, and with no event to come."""
        answer = self.get("?watch=true&labelSelector=none")
        assert answer.status == 200
        return answer


def test_what_no_rule_is_for_is_passed_on_and_counted(client: Client, proxy: FaultProxy) -> None:
    with proxy.rule(Answer(500), verbs=frozenset({"POST"})), proxy.rule(Answer(500), "/services"):
        assert json.loads(client.get().read())["kind"] == "PodList"
    assert [(one.verb, one.watch) for one in proxy.requests(path="/pods$")] == [("GET", False)]


def test_a_rule_strikes_as_often_as_it_says(client: Client, proxy: FaultProxy) -> None:
    busy = status_answer(429, "TooManyRequests", Retry_After="3")
    with proxy.rule(busy, skip=1, times=1):
        codes = [client.get() for _ in range(3)]
    assert [answer.status for answer in codes] == [200, 429, 200]
    assert codes[1].headers["Retry-After"] == "3"


def test_an_answer_is_late(client: Client, proxy: FaultProxy) -> None:
    began = time.monotonic()
    with proxy.rule(Delay(SILENT_SECONDS / 2)):
        assert client.get().status == 200
    assert time.monotonic() - began > SILENT_SECONDS / 2


def test_a_connection_is_broken_or_refused_or_silent(client: Client, proxy: FaultProxy) -> None:
    with proxy.rule(Reset()), pytest.raises(ConnectionResetError):
        client.get()
    with proxy.refusing(), pytest.raises(ConnectionRefusedError):
        client.get()
    with proxy.rule(HalfOpen()), pytest.raises(TimeoutError):
        client.get(seconds=SILENT_SECONDS)
    assert client.get().status == 200


def test_a_call_comes_before_the_request_or_after_the_answer(
    client: Client, proxy: FaultProxy
) -> None:
    called: list[str] = []
    with (
        proxy.rule(Call(lambda: called.append("after"), answered=True), skip=1, times=1),
        proxy.rule(Call(lambda: called.append("before")), times=1),
    ):
        assert client.get().status == 200
        assert called == ["before"]
        client.get()
        client.get()
    assert called == ["before", "after"]


def test_an_open_watch_is_ended_with_an_error_or_in_the_middle_of_a_line(
    client: Client, proxy: FaultProxy
) -> None:
    open_watch = client.watch()
    with proxy.rule(ErrorEvent(410), watch=True):
        (line,) = open_watch.read().splitlines()
    assert json.loads(line)["object"]["code"] == 410
    open_watch = client.watch()
    with proxy.rule(TruncatedLine(), watch=True), pytest.raises(ValueError, match="Unterminated"):
        json.loads(open_watch.read())
