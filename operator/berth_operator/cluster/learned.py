"""The ConfigMap of what was learned: read when leading begins, written by the leader alone.

Not watched: kopf cannot watch one object by name, and the right to read every ConfigMap would be
too much to ask for one of Berth's own. The audit reads it again, for whoever edits it by hand.
Looks at two models run at once, so all writes go through one lock, and each names its own keys
only: what another has written stays.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.core.planner import learned
from berth_operator.core.planner.learned import Record
from berth_operator.errors import Conflict, Denied, NotFound

log = logging.getLogger(__name__)

NAME: Final = "berth-learned"


class Memory:
    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._records: Mapping[str, Record] = {}
        self._broken: Mapping[str, str] = {}
        self._writing = asyncio.Lock()

    @property
    def records(self) -> Mapping[str, Record]:
        return self._records

    async def read(self) -> None:
        """Raises Unavailable; without the right to read, nothing has been learned."""
        try:
            async with self._writing:
                self._take(await self._api.get(kinds.CONFIG_MAP, self._namespace, NAME))
        except NotFound:
            self._records, self._broken = {}, {}
        except Denied as error:
            log.warning("what was learned of engines cannot be read: %s", error)

    async def keep(self, new: Iterable[Record]) -> bool:
        """Whether anything was written: what is known already is not.

        A model must not wait for what it could teach others: without the right to write it is
        lost. Raises Unavailable and NotLeading.
        """
        async with self._writing:
            changed = learned.changes(self._records, new)
            if not changed:
                return False
            try:
                self._take(await self._write({**dict.fromkeys(self._broken), **changed}))
            except (Denied, Conflict) as error:
                log.warning("what was learned of an engine is not kept: %s", error)
                return False
            return True

    async def _write(self, data: Mapping[str, str | None]) -> Json:
        try:
            return await self._patch(data)
        except NotFound:
            whole = {key: text for key, text in data.items() if text is not None}
        try:
            return await self._api.create(self._body(whole))
        except Conflict:  # someone was faster
            return await self._patch(data)

    async def _patch(self, data: Mapping[str, str | None]) -> Json:
        return await self._api.patch(kinds.CONFIG_MAP, self._namespace, NAME, {"data": {**data}})

    def _take(self, found: Json) -> None:
        data = found.get("data") or {}
        self._records, broken = learned.parse(data)
        for key in broken.keys() - self._broken.keys():
            log.warning("ConfigMap %s: %s is ignored: %s", NAME, key, broken[key])
        self._broken = broken

    def _body(self, data: Mapping[str, str]) -> Json:
        return {
            "apiVersion": kinds.CONFIG_MAP.api_version,
            "kind": kinds.CONFIG_MAP.kind,
            "metadata": {
                "name": NAME,
                "namespace": self._namespace,
                "labels": {
                    names.LABEL_PART_OF: names.PART_OF,
                    names.LABEL_MANAGED_BY: names.MANAGED_BY,
                },
            },
            "data": dict(data),
        }


Records = Callable[[], Mapping[str, Record]]
"""What is known now."""


def nothing_known() -> Mapping[str, Record]:
    return {}
