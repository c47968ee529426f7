"""The two requests that the gateway makes to the Kubernetes API: list and watch, as plain JSON.

No client library's typed models or watch: the first drop fields that they do not know, the second
asks for no bookmarks. Foreign errors become ApiError here.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

import aiohttp

from berth_gateway.errors import ApiError, ExpiredError
from berth_gateway.world.access import Access

Json = dict[str, Any]

CONNECT_SECONDS: Final = 5.0
LIST_SECONDS: Final = 30.0
# The API server sends a bookmark about once a minute; a watch that is silent for longer is dead.
INACTIVITY_SECONDS: Final = 70.0
# The server ends a watch after so long by itself, so that connections spread over its replicas.
WATCH_SECONDS: Final = 290
# An event is one line, of at most twice this; etcd takes objects of 1.5 MiB.
READ_BYTES: Final = 2 * 2**20

# OSError and ValueError are also the token's file, which is read again every minute.
_FAILURES: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class KubeApi(Protocol):
    async def list(self, path: str, query: Mapping[str, str]) -> Json:
        """One page of a collection. ExpiredError or ApiError."""
        ...

    def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
        """Watch events until the server ends them. ExpiredError or ApiError."""
        ...


class HttpKubeApi:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        access: Access,
        inactivity_seconds: float = INACTIVITY_SECONDS,
    ) -> None:
        self._session = session
        self._access = access
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
        headers = {"accept": "application/json"}
        authorization = await self._access.authorization()
        if authorization is not None:
            headers["authorization"] = authorization
        response = await self._session.get(
            self._access.url + path,
            params=query,
            headers=headers,
            timeout=timeout,
            proxy=self._access.proxy,
            server_hostname=self._access.server_name,
        )
        if response.status != HTTPStatus.OK:
            async with response:
                reason = (await response.text())[:200]
            raise _refused(path, response.status, reason)
        return response


@contextlib.asynccontextmanager
async def connect(access: Access) -> AsyncIterator[HttpKubeApi]:
    """For as long as the context lasts."""
    connector = aiohttp.TCPConnector(
        limit=0,  # every watch holds a connection
        ssl=True if access.tls is None else access.tls,
    )
    async with aiohttp.ClientSession(
        connector=connector, trust_env=True, read_bufsize=READ_BYTES
    ) as session:
        yield HttpKubeApi(session, access)


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
