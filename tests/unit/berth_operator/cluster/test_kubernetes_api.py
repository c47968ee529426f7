import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from berth_operator.cluster import kinds, kubernetes_api
from berth_operator.cluster.kubernetes_api import (
    MAX_PROXIED_BYTES,
    KubernetesApi,
    mapped_error,
)
from berth_operator.errors import (
    ApiError,
    ConfigurationError,
    Conflict,
    Denied,
    NotFound,
    NotLeading,
    Unavailable,
)
from berth_operator.metrics import Metrics

UNKNOWN_FIELD = (
    "failed to create typed patch object (team/smol; apps/v1, Kind=Deployment): "
    ".spec.nonsense: field not declared in schema"
)


def status(code: int, reason: str = "", message: str = "words") -> bytes:
    return json.dumps(
        {"kind": "Status", "code": code, "reason": reason, "message": message}
    ).encode()


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (404, status(404, "NotFound"), NotFound),
        (409, status(409, "Conflict"), Conflict),
        (403, status(403, "Forbidden", "exceeded quota"), Denied),
        (422, status(422, "Invalid"), Denied),
        (400, status(400, "BadRequest"), Denied),
        (401, status(401, "Unauthorized"), Unavailable),
        (429, status(429, "TooManyRequests"), Unavailable),
        (500, status(500, "InternalError", "etcdserver: request timed out"), Unavailable),
        (500, status(500, "InternalError", UNKNOWN_FIELD), Denied),
        (503, b"<html>no backend</html>", Unavailable),
        (502, b"[]", Unavailable),
    ],
)
def test_every_answer_has_its_error(code: int, text: bytes, expected: type[ApiError]) -> None:
    error = mapped_error(code, {}, text, what="PATCH /x")
    assert type(error) is expected
    assert error.status == code
    assert str(error)


def test_the_message_is_the_api_servers_own() -> None:
    error = mapped_error(403, {}, status(403, "Forbidden", "exceeded quota"), what="PATCH /x")
    assert (str(error), error.reason) == ("exceeded quota", "Forbidden")
    assert str(mapped_error(503, {}, b"<html>", what="GET /x")) == "GET /x: HTTP 503"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), (None, None)])
def test_retry_after_is_passed_on(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"Retry-After": header}
    assert mapped_error(429, headers, b"", what="").retry_after_seconds == seconds


class Server:
    """Answers every request alike and records them."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.accepted: list[str] = []
        self.answers: Callable[[web.Request], web.Response] = lambda _: web.json_response({})

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.text()
        parsed = json.loads(body) if body else None
        self.accepted.append(request.headers["Accept"])
        self.requests.append((request.method, request.path, dict(request.query), parsed))
        return self.answers(request)


@pytest.fixture
async def server(unused_tcp_port: int) -> AsyncIterator[tuple[Server, int]]:
    made = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield made, unused_tcp_port
    await runner.cleanup()


@pytest.fixture
async def leading() -> dict[str, bool]:
    return {"now": True}


@pytest.fixture
async def api(server: tuple[Server, int], leading: dict[str, bool]) -> AsyncIterator[KubernetesApi]:
    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{server[1]}"
    connection = client.ApiClient(settings)
    yield KubernetesApi(connection, may_write=lambda: leading["now"], metrics=Metrics())
    await connection.close()


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "smol-engine", "namespace": "team"},
}


async def test_an_apply_is_forced_and_names_its_manager(
    api: KubernetesApi, server: tuple[Server, int]
) -> None:
    await api.apply(SERVICE)
    assert server[0].requests == [
        (
            "PATCH",
            "/api/v1/namespaces/team/services/smol-engine",
            {"fieldManager": "berth-operator", "force": "true"},
            SERVICE,
        )
    ]


async def test_a_status_has_a_manager_of_its_own(
    api: KubernetesApi, server: tuple[Server, int]
) -> None:
    model = {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "smol", "namespace": "team", "uid": "u"},
        "status": {},
    }
    await api.apply_status(model)
    ((_, path, query, _),) = server[0].requests
    assert path == "/apis/berth.dev/v1alpha1/namespaces/team/modeldeployments/smol/status"
    assert query["fieldManager"] == "berth-status"


async def test_a_list_is_read_page_by_page(api: KubernetesApi, server: tuple[Server, int]) -> None:
    def answers(request: web.Request) -> web.Response:
        last = request.query.get("continue") == "more"
        items = [{"metadata": {"name": "b"}}] if last else [{"metadata": {"name": "a"}}]
        following = "" if last else "more"
        return web.json_response({"metadata": {"continue": following}, "items": items})

    server[0].answers = answers
    found = await api.list_all(kinds.POD, labels="berth.dev/model")
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]
    assert {one["kind"] for one in found} == {"Pod"}
    assert [request[1] for request in server[0].requests] == ["/api/v1/pods"] * 2
    assert server[0].requests[0][2] == {"labelSelector": "berth.dev/model", "limit": "250"}


async def test_a_limit_ends_a_list_after_its_first_page(
    api: KubernetesApi, server: tuple[Server, int]
) -> None:
    page = {"metadata": {"continue": "more"}, "items": None}
    server[0].answers = lambda _: web.json_response(page)
    assert await api.list_all(kinds.EVENT, "team", fields="type=Warning", limit=5) == []
    assert len(server[0].requests) == 1


async def test_a_deletion_names_the_uid(api: KubernetesApi, server: tuple[Server, int]) -> None:
    await api.delete(kinds.JOB, "team", "smol-shape", uid="u1")
    ((method, path, _, body),) = server[0].requests
    assert (method, path) == ("DELETE", "/apis/batch/v1/namespaces/team/jobs/smol-shape")
    assert body == {"propagationPolicy": "Background", "preconditions": {"uid": "u1"}}


async def test_nothing_is_written_while_not_leading(
    api: KubernetesApi, server: tuple[Server, int], leading: dict[str, bool]
) -> None:
    leading["now"] = False
    with pytest.raises(NotLeading):
        await api.apply(SERVICE)
    with pytest.raises(NotLeading):
        await api.delete(kinds.JOB, "team", "x", uid="u")
    assert server[0].requests == []
    await api.get(kinds.SERVICE, "team", "smol-engine")


@pytest.mark.parametrize(
    ("code", "owners", "expected"), [(201, [], None), (200, [{"uid": "a"}], [{"uid": "a"}])]
)
async def test_owners_are_told_by_a_dry_run(
    api: KubernetesApi, server: tuple[Server, int], code: int, owners: Any, expected: Any
) -> None:
    answer = {"kind": "PartialObjectMetadata", "metadata": {"ownerReferences": owners}}
    server[0].answers = lambda _: web.json_response(answer, status=code)
    assert await api.owners(kinds.SECRET, "team", "smol-engine-key") == expected
    assert server[0].requests[0][2]["dryRun"] == "All"
    assert server[0].accepted == [
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"  # never a foreign key
    ]


async def test_a_pod_is_reached_through_the_proxy(
    api: KubernetesApi, server: tuple[Server, int]
) -> None:
    server[0].answers = lambda _: web.Response(body=b"{}")
    assert await api.proxy_get("team", "p1", 8090, "/status") == b"{}"
    assert server[0].requests[0][1] == "/api/v1/namespaces/team/pods/p1:8090/proxy/status"
    server[0].answers = lambda _: web.Response(status=503)
    with pytest.raises(Unavailable):
        await api.proxy_get("team", "p1", 8090, "/status")


async def _raw_api(
    answer: list[bytes], unused_tcp_port: int
) -> tuple[asyncio.Server, client.ApiClient]:
    """A server that sends the parts of `answer` one by one and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in answer:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)  # so that the client reads each by itself
        writer.close()

    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{unused_tcp_port}"
    listener = await asyncio.start_server(handle, "127.0.0.1", unused_tcp_port)
    return listener, client.ApiClient(settings)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [([b"{", b"}"], b"{}"), ([b"{"], None), ([b"x" * (MAX_PROXIED_BYTES + 1)], None)],
    ids=["in pieces", "cut", "too long"],
)
async def test_what_a_pod_says_through_the_proxy_is_read_whole_or_not_at_all(
    parts: list[bytes], expected: bytes | None, unused_tcp_port: int
) -> None:
    length = max(2, sum(map(len, parts)))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length
    listener, connection = await _raw_api([head, *parts], unused_tcp_port)
    api = KubernetesApi(connection, may_write=lambda: True, metrics=Metrics())
    async with listener:
        if expected is None:
            with pytest.raises(Unavailable):
                await api.proxy_get("team", "p1", 8090, "/status")
        else:
            assert await api.proxy_get("team", "p1", 8090, "/status") == expected
    await connection.close()


async def test_an_answer_without_end_is_read_as_it_comes(
    api: KubernetesApi, server: tuple[Server, int]
) -> None:
    server[0].answers = lambda _: web.Response(body=b"one\ntwo\n")
    async with api.proxy_stream("team", "p1", 8081, "/demand") as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"one\ntwo\n"
    assert server[0].requests[0][1] == "/api/v1/namespaces/team/pods/p1:8081/proxy/demand"
    server[0].answers = lambda _: web.Response(status=503)
    with pytest.raises(Unavailable):
        async with api.proxy_stream("team", "p1", 8081, "/demand"):
            pass


async def test_a_watch_tells_its_events_and_ends(
    api: KubernetesApi, server: tuple[Server, int]
) -> None:
    events = [{"type": kind, "object": {"metadata": {"uid": "p"}}} for kind in ("ADDED", "DELETED")]
    body = "".join(json.dumps(event) + "\n" for event in events)
    server[0].answers = lambda _: web.Response(text=body)
    found = [event async for event in api.watch(kinds.POD, "team", labels="a=b", seconds=7)]
    assert found == events
    assert server[0].requests[0][1] == "/api/v1/namespaces/team/pods"


@pytest.mark.parametrize("body", ['{"type": "ERROR", "object": {"code": 410}}\n', "no JSON\n"])
async def test_a_watch_that_breaks_is_unavailable(
    api: KubernetesApi, server: tuple[Server, int], body: str
) -> None:
    server[0].answers = lambda _: web.Response(text=body)
    with pytest.raises(Unavailable):
        _ = [event async for event in api.watch(kinds.POD, "team", labels="", seconds=7)]


async def test_a_refused_connection_is_unavailable(unused_tcp_port: int) -> None:
    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{unused_tcp_port}"
    connection = client.ApiClient(settings)
    api = KubernetesApi(connection, may_write=lambda: True, metrics=Metrics())
    with pytest.raises(Unavailable, match="no answer"):
        await api.apply(SERVICE)
    await connection.close()


async def test_without_any_credentials_the_configuration_is_at_fault() -> None:
    with pytest.raises(ConfigurationError, match="no way to the API server"):
        await kubernetes_api.connect({"KUBECONFIG": "/does/not/exist"})
