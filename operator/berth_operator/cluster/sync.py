"""Full lists: they fill the cache before the first decision, and later find what a watch missed.

A watch that resumes after an outage delivers what exists, but not what was deleted meanwhile; a
child that is believed to exist is never made again. So the lists are compared from time to time.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.learned import Memory
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

# A missed deletion needs a watch that is down for minutes, so minutes are soon enough; the lists
# of 5,000 models take a CPU second.
AUDIT_SECONDS: Final = 300.0
_AUDIT_SPREAD: Final = 0.2  # of the period, so that several operators do not list together
RETRY_SECONDS: Final = 2.0


async def fill(api: KubeApi, cache: Cache, namespaces: Sequence[str]) -> tuple[ModelKey, ...]:
    """Every watched kind, once; returns all models. Waits for an API server that is away."""
    for kind in kinds.WATCHED:
        for obj in await patiently(partial(_list, api, kind, namespaces)):
            cache.upsert(kind, obj)
    return cache.models()


async def audit(api: KubeApi, cache: Cache, namespaces: Sequence[str]) -> tuple[ModelKey, ...]:
    """Forgets what no longer exists; returns the models that this concerns."""
    changed: set[ModelKey] = set()
    for kind in kinds.WATCHED:
        believed = cache.uids(kind)
        listed = await _list(api, kind, namespaces, metadata_only=True)
        for uid in believed - {obj["metadata"]["uid"] for obj in listed}:
            log.warning("a watch missed the deletion of %s %s", kind.kind, uid)
            changed.update(cache.remove(kind, uid))
    return tuple(changed)


async def audit_for_ever(
    api: KubeApi,
    cache: Cache,
    namespaces: Sequence[str],
    *,
    report: Callable[[Iterable[ModelKey]], None],
    memory: Memory,
    chance: random.Random,
) -> None:
    while True:
        await asyncio.sleep(AUDIT_SECONDS * chance.uniform(1 - _AUDIT_SPREAD, 1 + _AUDIT_SPREAD))
        try:
            report(await audit(api, cache, namespaces))
            await memory.read()
        except Unavailable as error:
            log.warning("the cache was not compared with the cluster: %s", error)


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` returns, once the API server answers."""
    while True:
        try:
            return await read()
        except Unavailable as error:
            log.warning("cannot read the cluster yet: %s", error)
        await asyncio.sleep(RETRY_SECONDS)


async def _list(
    api: KubeApi, kind: Kind, namespaces: Sequence[str], *, metadata_only: bool = False
) -> list[Json]:
    """Of the given namespaces, or of all if none is given."""
    scopes = namespaces if namespaces and kind.namespaced else (None,)
    found: list[Json] = []
    for namespace in scopes:
        found += await api.list_all(
            kind, namespace, labels=kinds.selector(kind), metadata_only=metadata_only
        )
    return found
