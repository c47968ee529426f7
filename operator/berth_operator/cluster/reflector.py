"""Lists and watches of what the operator owns: some ten objects for each that a user writes.

Not kopf's: it keeps a memory, a queue and a task for every object and copies each several times,
which at 10,000 models is most of the operator's memory and half of its CPU. And a list that
follows a gap in a watch tells here what was deleted meanwhile.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final, Generic

from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.port import Form, Json, KubeApi
from berth_operator.cluster.store import K, Store
from berth_operator.errors import ApiError

log = logging.getLogger(__name__)

# The server ends a watch after so long, and it is taken up where it ended.
WATCH_SECONDS: Final = 300
# After a failure: soon, for most outages are short; then seldom, but often enough that the operator
# is at work within 10 s of the API server's return.
FIRST_WAIT_SECONDS: Final = 0.2
MAX_WAIT_SECONDS: Final = 5.0
# Whatever an API server has against the version that a watch would go on from, a list mends it: one
# that was restored from a backup has never heard of it, and does not say 410.
RELIST_AFTER_FAILURES: Final = 3


class Reflector(Generic[K]):
    """Keeps a store's objects of one kind as they are in `namespace`; None is every namespace."""

    def __init__(
        self,
        api: KubeApi,
        store: Store[K],
        kind: Kind,
        namespace: str | None,
        *,
        labels: str,
        report: Callable[[Iterable[K]], None],
        chance: random.Random,
    ) -> None:
        self._api = api
        self._store = store
        self._kind = kind
        self._labels = labels
        self._namespace = namespace
        self._report = report
        self._chance = chance
        self._version = ""  # where the watch goes on; empty: a list comes first
        self._failures = 0  # since the last event or list

    @property
    def name(self) -> str:
        where = self._namespace or "all namespaces"
        return f"watch of {self._kind.plural} with {self._labels} in {where}"

    async def run(self) -> None:
        """For ever: errors of the API server are told and waited out, others end the process."""
        while True:
            await self._follow()

    async def _follow(self) -> None:
        try:
            if not self._version:
                await self.fill()
            await self._watch()
        except ApiError as error:
            self._failures += 1
            log.warning("the %s: %s", self.name, error)
            if error.status == HTTPStatus.GONE or self._failures >= RELIST_AFTER_FAILURES:
                self._version = ""
            await asyncio.sleep(self._wait_seconds())

    async def fill(self) -> None:
        """All that there is into the cache, and out of it what there is no more."""
        believed = self._store.uids(self._kind, self._namespace)
        listed: set[str] = set()
        version = ""
        form = Form.UNREAD if self._kind in self._store.unread else Form.PARSED
        async for page in self._api.pages(
            self._kind, self._namespace, labels=self._labels, form=form
        ):
            for obj in page.items:
                listed.add(obj["metadata"]["uid"])
                self._report(self._store.upsert(self._kind, obj))
            version = page.version
        for uid in believed - listed:
            self._report(self._store.remove(self._kind, uid))
        self._version = version

    async def _watch(self) -> None:
        events = self._api.watch(
            self._kind,
            self._namespace,
            labels=self._labels,
            seconds=WATCH_SECONDS,
            since=self._version,
        )
        async for event in events:
            self._take(event["type"], event["object"])
            self._failures = 0

    def _take(self, told: str, obj: Json) -> None:
        if told == "DELETED":
            self._report(self._store.remove(self._kind, obj["metadata"]["uid"]))
        elif told != "BOOKMARK":
            self._report(self._store.upsert(self._kind, obj))
        self._version = obj["metadata"]["resourceVersion"]

    def _wait_seconds(self) -> float:
        doubled: float = FIRST_WAIT_SECONDS * 2 ** min(self._failures - 1, 10)
        return min(doubled, MAX_WAIT_SECONDS) * self._chance.uniform(0.5, 1.0)
