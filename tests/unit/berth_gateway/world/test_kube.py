import asyncio
from pathlib import Path

import pytest
from kubernetes.aio import client

from berth_gateway.errors import ApiError, ConfigurationError, ExpiredError
from berth_gateway.world import kube

PATH = "/api/v1/things"


@pytest.fixture
async def api(api_server):
    settings = client.Configuration(host=api_server.url, api_key={"BearerToken": "Bearer token"})
    async with client.ApiClient(settings) as made:
        yield kube.AioKubeApi(made, inactivity_seconds=0.05)


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


async def test_a_watch_that_says_nothing_is_given_up(api) -> None:
    with pytest.raises(ApiError, match="Timeout"):
        async for _ in api.watch(PATH, {}):
            pass


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
    settings = client.Configuration(host="http://127.0.0.1:1")
    async with client.ApiClient(settings) as made:
        with pytest.raises(ApiError):
            await kube.AioKubeApi(made).list(PATH, {})


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


async def test_a_kubeconfig_that_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"kubeconfig .*absent.*--routes FILE") as caught:
        await kube.connect(tmp_path / "absent")
    assert "\n" not in str(caught.value)


async def test_outside_a_cluster_the_service_account_is_missed_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"service account: .*--kubeconfig FILE"):
        await kube.connect(None)
