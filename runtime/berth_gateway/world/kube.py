"""The two requests that the gateway makes to the Kubernetes API: list and watch, as plain JSON.

`kubernetes.aio` supplies credentials, TLS and the connection; its typed models and its own watch
are left aside: the first drop fields that they do not know, the second asks for no bookmarks.
Foreign errors become ApiError here.
"""

import json
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException

from berth_gateway.errors import ApiError, ConfigurationError, ExpiredError

Json = dict[str, Any]

CONNECT_SECONDS: Final = 5.0
LIST_SECONDS: Final = 30.0
# The API server sends a bookmark about once a minute; a watch that is silent for longer is dead.
INACTIVITY_SECONDS: Final = 70.0
# The server ends a watch after so long by itself, so that connections spread over its replicas.
WATCH_SECONDS: Final = 290

_FAILURES: Final = (
    aiohttp.ClientError,
    TimeoutError,
    OSError,
    ValueError,
    ApiException,
    ConfigException,  # the token's file, which is read again every minute
)


class KubeApi(Protocol):
    async def list(self, path: str, query: Mapping[str, str]) -> Json:
        """One page of a collection. ExpiredError or ApiError."""
        ...

    def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
        """Watch events until the server ends them. ExpiredError or ApiError."""
        ...


class AioKubeApi:
    def __init__(
        self, api: client.ApiClient, inactivity_seconds: float = INACTIVITY_SECONDS
    ) -> None:
        self._api = api
        self._list_timeout = aiohttp.ClientTimeout(total=LIST_SECONDS, sock_connect=CONNECT_SECONDS)
        self._watch_timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=inactivity_seconds
        )

    async def list(self, path: str, query: Mapping[str, str]) -> Json:
        try:
            response = await self._get(path, query, self._list_timeout)
            async with response:
                document: Json = await response.json()
        except _FAILURES as error:
            raise _mapped(path, error) from error
        return document

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
        asked = {
            **query,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        try:
            response = await self._get(path, asked, self._watch_timeout)
            async with response:
                async for line in response.content:
                    yield _event(path, line)
        except _FAILURES as error:
            raise _mapped(path, error) from error

    async def _get(
        self, path: str, query: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        serialized = await self._api.param_serialize(
            "GET",
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*serialized, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        if response.status != HTTPStatus.OK:
            async with response:
                reason = (await response.text())[:200]
            raise _refused(path, response.status, reason)
        return response


async def connect(kubeconfig: Path | None) -> client.ApiClient:
    """With the pod's service account, or with a kubeconfig. ConfigurationError if unusable."""
    settings = client.Configuration()
    settings.connection_pool_maxsize = 0  # no limit: every watch holds a connection
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=settings)
        else:
            await config.load_kube_config(str(kubeconfig), client_configuration=settings)
    except (ConfigException, OSError, ValueError) as error:
        where = "the pod's service account" if kubeconfig is None else f"kubeconfig {kubeconfig}"
        hint = "give --kubeconfig FILE outside a cluster, or --routes FILE without one"
        raise ConfigurationError(f"{where}: {error}; {hint}") from error
    return client.ApiClient(settings)


def _event(path: str, line: bytes) -> Json:
    event: Json = json.loads(line)
    if event["type"] == "ERROR":
        status = event.get("object", {})
        raise _refused(path, status.get("code", 0), str(status.get("message", "")))
    return event


def _refused(path: str, status: int, reason: str) -> ApiError:
    kind = ExpiredError if status == HTTPStatus.GONE else ApiError
    return kind(f"{path}: status {status}: {reason}")


def _mapped(path: str, error: Exception) -> ApiError:
    return ApiError(f"{path}: {type(error).__name__}: {error}")
