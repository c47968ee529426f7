"""The way to the gateway, over real sockets: by its address, and by a port-forward to its pod."""

import asyncio
import base64

import pytest
import terminal_world as world
from fakes.cluster import Fault
from fakes.terminal import DONE, PARIS, OpenAI, chunk

from berth_api import names
from berth_cli import gateway
from berth_cli.access import Session
from berth_cli.answers import Done, Piece, Usage, Waiting
from berth_cli.commands import Way
from berth_cli.errors import InputError, Refused
from berth_operator.errors import Denied, Unavailable

ANSWER = [Piece("The capital "), Piece("is Paris."), Usage(9, 3), Done()]
BODY = {"model": "m", "messages": []}
THROUGH = Way(None, None)


async def answered(server, way=None, session=None, environ=None):
    found = way or Way(server.url, "sk-1")
    async with gateway.reached(found, session, environ or {}) as reached:
        return [event async for event in reached.stream(BODY)]


def session(cluster):
    return Session(cluster, "team-a", "berth-system")


def first_key(text):
    data = {names.FIRST_API_KEY_FIELD: base64.b64encode(text.encode()).decode()}
    metadata = {"name": names.SECRET_FIRST_API_KEY, "namespace": "berth-system"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


async def test_an_answer_comes_by_the_gateways_address():
    async with OpenAI().running() as server:
        assert await answered(server) == ANSWER
        assert (server.paths, server.keys) == (["/v1/chat/completions"], ["Bearer sk-1"])


async def test_the_environments_key_is_used_where_none_is_given():
    async with OpenAI().running() as server:
        await answered(server, Way(server.url, None), environ={gateway.KEY_VARIABLE: "sk-2"})
        await answered(server, Way(server.url, None))
        assert server.keys == ["Bearer sk-2", None]


async def test_an_answer_comes_through_the_api_server_with_the_first_key():
    cluster = world.cluster()
    cluster.put(first_key("sk-first"))
    async with OpenAI().running() as server:
        cluster.gateway = server
        assert await answered(server, THROUGH, session(cluster)) == ANSWER
        assert server.keys == ["Bearer sk-first"]
        assert cluster.forwarded == [("berth-system", "berth-gateway-1", 8080)]


async def test_a_large_answer_comes_whole_through_a_port_forward():
    words = [chunk("x" * 50_000) for _ in range(20)]
    async with OpenAI(lines=[*words, DONE]).running() as server:
        cluster = world.cluster()
        cluster.gateway = server
        found = await answered(server, THROUGH, session(cluster))
        assert sum(len(one.text) for one in found if isinstance(one, Piece)) == 1_000_000


async def test_a_key_that_may_not_be_read_is_none():
    cluster = world.cluster()
    cluster.faults.append(Fault(Denied("secrets is forbidden"), kind="Secret"))
    assert await gateway.first_key(session(cluster)) is None
    assert await gateway.first_key(session(cluster)) is None


async def test_a_comment_says_how_far_the_model_is():
    async with OpenAI(lines=[": waiting for m: phase Loading\n\n", *PARIS]).running() as server:
        assert await answered(server) == [Waiting("waiting for m: phase Loading"), *ANSWER]


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (OpenAI(lines=['{"error": {"message": "paused"}}'], status=503), r"paused \(HTTP 503\)$"),
        (
            OpenAI(lines=['{"error": {"message": "no valid API key"}}'], status=401),
            r"no valid API key \(HTTP 401\); give one with --key, or set BERTH_API_KEY",
        ),
        (OpenAI(lines=['data: {"error": {"message": "gone"}}\n\n']), "^gone$"),
        (OpenAI(lines=PARIS[:2]), "the answer was cut off before its end; ask again"),
        (OpenAI(lines=["data: {\n\n"]), "none of OpenAI's"),
    ],
)
async def test_a_no_is_told_in_its_own_words(server, said):
    async with server.running():
        with pytest.raises(Refused, match=said):
            await answered(server)


async def test_an_address_where_nobody_listens_is_named():
    async with OpenAI().running() as server:
        gone = server.url
    with pytest.raises(InputError, match=f"--url {gone}: .*; see that it is the gateway's"):
        await answered(server, Way(gone, None))


async def test_a_port_forward_that_fails_says_why():
    cluster = world.cluster()
    async with OpenAI(fault="connection refused in the pod").running() as server:
        cluster.gateway = server
        with pytest.raises(InputError, match=r"connection refused in the pod; give its address"):
            await answered(server, THROUGH, session(cluster))


async def test_a_port_forward_that_is_forbidden_says_so():
    class Forbidding(type(world.cluster())):
        async def forward(self, namespace, pod, port):
            raise Unavailable("pods/portforward is forbidden")

    found = world.cluster()
    forbidding = Forbidding(objects=found.objects, proxied=found.proxied)
    with pytest.raises(InputError, match="pods/portforward is forbidden; give its address"):
        await answered(None, THROUGH, session(forbidding))


async def test_without_a_gateway_there_is_no_way():
    cluster = world.cluster()
    with pytest.raises(Refused, match="no gateway of Berth's is ready in namespace other"):
        await answered(None, THROUGH, Session(cluster, "team-a", "other"))
    with pytest.raises(InputError, match="no cluster is known, and no address is given"):
        await answered(None, THROUGH)


@pytest.mark.parametrize("through", [False, True])
async def test_who_stops_listening_ends_the_answer_at_the_gateway(through):
    cluster = world.cluster()
    async with OpenAI(lines=PARIS[:1], stalls=True).running() as server:
        cluster.gateway = server
        way = THROUGH if through else Way(server.url, None)

        async def listen():
            async with gateway.reached(way, session(cluster), {}) as reached:
                async for _ in reached.stream(BODY):
                    heard.set()

        heard = asyncio.Event()
        listening = asyncio.create_task(listen())
        await asyncio.wait_for(heard.wait(), 10)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await asyncio.wait_for(server.gone.wait(), 10)
