"""Full lists of what kopf watches: before the first decision, and later for what a watch missed.

kopf's watch that resumes after an outage delivers what exists, but not what was deleted meanwhile,
so the lists are compared from time to time. What the operator owns has reflectors.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.learned import Memory
from berth_operator.cluster.port import Form, KubeApi
from berth_operator.cluster.store import K, Store
from berth_operator.errors import ApiError, ConfigurationError, NotFound, NotLeading

log = logging.getLogger(__name__)

T = TypeVar("T")

# A missed deletion needs a watch that is down for minutes, so minutes are soon enough; the lists
# of 5,000 models take a CPU second.
AUDIT_SECONDS: Final = 300.0
_AUDIT_SPREAD: Final = 0.2  # of the period, so that several operators do not list together
RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Feed(Generic[K]):
    """Kinds that are watched, where their objects are kept, and who is told of changes."""

    store: Store[K]
    watched: Sequence[Kind]
    report: Callable[[Kind, Iterable[K]], None]


async def fill(api: KubeApi, feed: Feed[Any], namespaces: Sequence[str]) -> None:
    """Every watched kind, once. Waits for an API server that is away.

    ConfigurationError where Berth's own kind is not known there.
    """
    for kind in feed.watched:
        await patiently(partial(_fill, api, feed.store, kind, namespaces))


async def audit(api: KubeApi, feed: Feed[Any], namespaces: Sequence[str]) -> None:
    """Forgets what no longer exists, and tells whom this concerns."""
    for kind in feed.watched:
        believed = feed.store.uids(kind)
        listed = [
            obj["metadata"]["uid"]
            for namespace in _scopes(kind, namespaces)
            async for page in api.pages(kind, namespace, form=Form.METADATA)
            for obj in page.items
        ]
        for uid in believed.difference(listed):
            log.warning("a watch missed the deletion of %s %s", kind.kind, uid)
            feed.report(kind, feed.store.remove(kind, uid))


async def audit_for_ever(
    api: KubeApi,
    feeds: Sequence[Feed[Any]],
    namespaces: Sequence[str],
    *,
    memory: Memory,
    chance: random.Random,
) -> None:
    while True:
        await asyncio.sleep(AUDIT_SECONDS * chance.uniform(1 - _AUDIT_SPREAD, 1 + _AUDIT_SPREAD))
        try:
            for feed in feeds:
                await audit(api, feed, namespaces)
            await memory.read()
        except ApiError as error:
            log.warning("the cache was not compared with the cluster: %s", error)


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` returns, once the API server gives it; NotFound if there is no such thing.

    What it refuses it may give in a minute: a role was taken, or is not there yet. To end the
    process would only prolong that by the kubelet's back-off.
    """
    while True:
        try:
            return await read()
        except NotFound:
            raise
        except (ApiError, NotLeading) as error:
            log.warning("cannot read the cluster yet: %s", error)
        await asyncio.sleep(RETRY_SECONDS)


async def _fill(api: KubeApi, store: Store[Any], kind: Kind, namespaces: Sequence[str]) -> None:
    try:
        for namespace in _scopes(kind, namespaces):
            async for page in api.pages(kind, namespace):
                for obj in page.items:
                    store.upsert(kind, obj)
    except NotFound as error:
        raise ConfigurationError(
            f"this cluster does not know {kind.plural}.{kind.group}: install the chart with "
            "crds.enabled, or apply the CustomResourceDefinition of this version by hand"
        ) from error


def _scopes(kind: Kind, namespaces: Sequence[str]) -> Sequence[str | None]:
    """The given namespaces, or all of them at once if none is given."""
    return namespaces if namespaces and kind.namespaced else (None,)
