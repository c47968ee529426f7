"""A copy of one collection of the API server, kept up to date by list and watch.

While the API server is away the copy stays as it was last seen, however long that takes.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from berth_gateway.errors import ApiError, ExpiredError
from berth_gateway.world.kube import Json, KubeApi

_log = logging.getLogger(__name__)

Parsed = TypeVar("Parsed")

PAGE_SIZE: Final = 500  # what client-go asks for
FIRST_WAIT_SECONDS: Final = 0.1
# Whatever an API server has against the version that a watch would go on from, a list mends it:
# one that was restored from a backup, for example, has never heard of it and does not say 410.
RELIST_AFTER_FAILURES: Final = 3
MAX_WAIT_SECONDS: Final = 5.0  # so that the copy is fresh soon after the API server is back


class Reflector(Generic[Parsed]):
    """`parse` turns an object into what is kept of it; None leaves it out.

    `changed` is called after the copy has changed, and once when it is complete for the first time.
    """

    def __init__(
        self,
        api: KubeApi,
        path: str,
        query: Mapping[str, str],
        *,
        parse: Callable[[Json], Parsed | None],
        changed: Callable[[], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.items: dict[str, Parsed] = {}  # by namespace/name
        self.synced = False
        self._api = api
        self._path = path
        self._query = query
        self._parse = parse
        self._changed = changed
        self._jitter = jitter
        self._version: str | None = None  # where a watch goes on; None: list first
        self._failures = 0  # since the last event
        self._warned = ""

    async def run(self) -> None:
        """For ever. Errors of the API server are logged and waited out; others end the process."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except ExpiredError:
                self._version = None
            except ApiError as error:
                self._warn(str(error))
                if self._failures >= RELIST_AFTER_FAILURES:
                    self._version = None
            await asyncio.sleep(self._wait_seconds())
            self._failures += 1

    def _warn(self, text: str) -> None:
        """Once, as long as it is the same."""
        if text != self._warned:
            _log.warning("%s; keeping what is known", text)
        self._warned = text

    def _wait_seconds(self) -> float:
        """Nothing at first, for the server ends every watch after a while; then doubled."""
        if self._failures == 0:
            return 0.0
        doubled: float = FIRST_WAIT_SECONDS * 2 ** min(self._failures, 10)
        return min(doubled, MAX_WAIT_SECONDS) * (0.5 + self._jitter() / 2)

    async def _list(self) -> None:
        found: dict[str, Parsed] = {}
        query = {**self._query, "limit": str(PAGE_SIZE)}
        while True:
            page = await self._api.list(self._path, query)
            for item in page.get("items") or ():
                self._keep(found, item)
            metadata = page["metadata"]
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        self.items = found
        self._version = metadata["resourceVersion"]
        self.synced = True
        self._warned = ""
        self._changed()

    async def _watch(self) -> None:
        query = {**self._query, "resourceVersion": self._version or ""}
        async for event in self._api.watch(self._path, query):
            self._failures, self._warned = 0, ""
            self._version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            if event["type"] == "DELETED":
                self.items.pop(_key(event["object"]), None)
            else:
                self._keep(self.items, event["object"])
            self._changed()

    def _keep(self, items: dict[str, Parsed], item: Json) -> None:
        """A version that cannot be read takes the place of none: the one before it is dropped."""
        parsed = self._parse(item)
        if parsed is None:
            items.pop(_key(item), None)
        else:
            items[_key(item)] = parsed


def _key(item: Mapping[str, Any]) -> str:
    metadata = item["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
