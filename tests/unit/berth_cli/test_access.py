"""The way into a cluster: the kubeconfig's namespace, the client's errors, a pod's log and port."""

from contextlib import asynccontextmanager

import pytest
import yaml
from aiohttp import web

from berth_cli import access
from berth_cli.commands import Site
from berth_cli.errors import InputError, Refused
from berth_operator.errors import Conflict, Denied, NotFound, Unavailable


@asynccontextmanager
async def api_server(folder, *routes, namespace=None):
    """A stand-in on a real socket, and a kubeconfig that leads there."""
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    path = folder / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "x",
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"},
                    }
                ],
                "contexts": [
                    {"name": "x", "context": context},
                    {"name": "y", "context": context | {"namespace": "of-y"}},
                ],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    try:
        yield path
    finally:
        await runner.cleanup()


def site(path, **given):
    return Site(**{"kubeconfig": path, "context": None, "namespace": None, "release": "r"} | given)


async def test_the_namespace_is_the_one_that_kubectl_would_take(tmp_path):
    async with api_server(tmp_path, namespace="of-x") as path:
        for given, found in (
            ({}, "of-x"),
            ({"context": "y"}, "of-y"),
            ({"namespace": "asked"}, "asked"),
        ):
            async with access.session(site(path, **given), {}) as session:
                assert (session.namespace, session.release) == (found, "r")
    async with api_server(tmp_path) as path, access.session(site(path), {}) as session:
        assert session.namespace == "default"


async def test_a_kubeconfig_of_several_files_is_one(tmp_path):
    async with api_server(tmp_path, namespace="of-x") as path:
        both = f"{tmp_path / 'absent'}:{path}"
        async with access.session(site(None), {"KUBECONFIG": both}) as session:
            assert session.namespace == "of-x"


async def test_the_kubeconfig_is_found_as_kubectl_finds_it(tmp_path):
    async with api_server(tmp_path) as path:
        async with access.session(site(None), {"KUBECONFIG": str(path)}) as session:
            assert session.namespace == "default"
        with pytest.raises(InputError, match=r"/.kube/config: there is no such file; name one"):
            async with access.session(site(None), {"HOME": str(tmp_path)}):
                pass


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Denied("forbidden"), Refused),
        (NotFound("gone"), Refused),
        (Conflict("owned by argocd"), Refused),
        (Unavailable("no answer"), InputError),
    ],
)
def test_a_no_is_another_thing_than_no_answer(error, kind):
    found = access.told(error)
    assert type(found) is kind
    assert str(error) in str(found)


async def test_a_log_is_the_engines_as_it_comes(tmp_path):
    asked = []

    async def log(request):
        asked.append(dict(request.query))
        if request.match_info["pod"] == "starting":
            status = {"message": "container engine is waiting to start", "reason": "BadRequest"}
            return web.json_response(status, status=400)
        return web.Response(body=b"one\ntwo\n")

    route = web.get("/api/v1/namespaces/team-a/pods/{pod}/log", log)
    async with api_server(tmp_path, route) as path, access.session(site(path), {}) as session:
        async with session.api.log("team-a", "p", follow=True, previous=False) as pieces:
            assert b"".join([piece async for piece in pieces]) == b"one\ntwo\n"
        with pytest.raises(Denied, match="is waiting to start"):
            async with session.api.log("team-a", "starting", follow=False, previous=True):
                pass
    assert asked == [
        {"container": "engine", "follow": "true"},
        {"container": "engine", "previous": "true"},
    ]


async def test_a_port_forward_is_asked_for_as_kubernetes_has_it(tmp_path):
    asked = []

    async def forward(request):
        asked.append((dict(request.query), request.headers.get("Authorization")))
        frames = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await frames.prepare(request)
        await frames.send_bytes(b"\x00\x50\x00hello")
        await frames.close()
        return frames

    route = web.get("/api/v1/namespaces/r/pods/gateway/portforward", forward)
    async with api_server(tmp_path, route) as path, access.session(site(path), {}) as session:
        async with await session.api.forward("r", "gateway", 8080) as frames:
            assert frames.protocol == "v4.channel.k8s.io"
            assert (await frames.receive()).data == b"\x00\x50\x00hello"
        with pytest.raises(Unavailable, match="/pods/absent/portforward: no answer: 404"):
            await session.api.forward("r", "absent", 8080)
    assert asked == [({"ports": "8080"}, "Bearer t")]
