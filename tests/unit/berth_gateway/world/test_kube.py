import asyncio

import pytest

from berth_gateway.errors import ApiError, ExpiredError
from berth_gateway.world import kube
from berth_gateway.world.access import Access

PATH = "/api/v1/things"


async def _token() -> str:
    return "Bearer token"


@pytest.fixture
async def api(api_server):
    async with kube.connect(Access(api_server.url, _token)) as made:
        yield made


async def test_a_list_is_plain_json(api, api_server) -> None:
    api_server.put(PATH, {"metadata": {"name": "a"}, "unknown": {"kept": [1]}})
    page = await api.list(PATH, {"limit": "5"})

    assert page["items"][0]["unknown"] == {"kept": [1]}
    assert api_server.requests == [(PATH, {"limit": "5"})]
    assert api_server.authorizations == {"Bearer token"}


async def test_a_watch_asks_for_bookmarks_and_yields_events(api, api_server) -> None:
    api_server.put(PATH, {"metadata": {"name": "a"}})
    event = await anext(api.watch(PATH, {"resourceVersion": "0"}))

    assert event["object"]["metadata"]["name"] == "a"
    assert api_server.requests[0][1] == {
        "resourceVersion": "0",
        "watch": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "290",
    }


async def test_a_watch_that_says_nothing_is_given_up(http, api_server) -> None:
    api = kube.HttpKubeApi(http, Access(api_server.url, _token), inactivity_seconds=0.05)
    with pytest.raises(ApiError, match="Timeout"):
        async for _ in api.watch(PATH, {}):
            pass


async def test_an_event_may_be_as_large_as_an_object(api, api_server) -> None:
    api_server.put(PATH, {"metadata": {"name": "a"}, "text": "x" * 2_000_000})
    event = await anext(api.watch(PATH, {"resourceVersion": "0"}))

    assert len(event["object"]["text"]) == 2_000_000


@pytest.mark.parametrize(
    ("status", "kind"), [(403, ApiError), (503, ApiError), (410, ExpiredError)]
)
async def test_a_refusal_is_an_api_error_that_names_path_and_status(
    api, api_server, status, kind
) -> None:
    api_server.status = status
    with pytest.raises(kind, match=rf"{PATH}: status {status}: .*as told"):
        await api.list(PATH, {})
    with pytest.raises(kind, match=f"status {status}"):
        await anext(api.watch(PATH, {}))


async def test_an_api_server_that_is_away_is_an_api_error() -> None:
    async with kube.connect(Access("http://127.0.0.1:1", _token)) as api:
        with pytest.raises(ApiError):
            await api.list(PATH, {})


async def test_a_token_that_cannot_be_read_is_an_api_error(api_server) -> None:
    async def gone() -> str:
        raise FileNotFoundError("token")

    async with kube.connect(Access(api_server.url, gone)) as api:
        with pytest.raises(ApiError, match="token"):
            await api.list(PATH, {})
    assert api_server.requests == []


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"type":"ERROR","object":{"code":410,"message":"too old"}}\n', ExpiredError),
        (b'{"type":"ERROR","object":{"code":500,"message":"etcd"}}\n', ApiError),
        (b'{"type":"ADDED","obj\n', ApiError),
    ],
    ids=["expired", "server error", "half a line"],
)
async def test_an_error_inside_a_watch_is_raised(api, api_server, kit, line, kind) -> None:
    async def first() -> object:
        return await anext(api.watch(PATH, {}))

    task = asyncio.create_task(first())
    await kit.until(lambda: api_server.watches.get(PATH))
    api_server.send(PATH, line)
    with pytest.raises(kind):
        await task
