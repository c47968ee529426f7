"""Where kopf's watches end: an event updates the cache and puts a key on the queue, no more.

kopf ignores what a raw event handler raises and has no lists of what was deleted; so nothing is
decided here, and the work is retried by our own queue. Uses no feature of kopf that writes to
objects: no finalizers, annotations, peering or posted events.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import kopf

from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.sync import Feed
from berth_operator.errors import BerthError

# A watch is ended by the server and taken up again after so long. An integer: the API server
# refuses "300.0".
WATCH_SECONDS: Final = 300
# Above a bookmark's period (60 s): a watch that is silent for longer is dead.
SILENCE_SECONDS: Final = 70.0
# kopf keeps a task for each object, with the last that was told of it, until so long nothing comes:
# after a restart that is every object there is.
IDLE_SECONDS: Final = 0.1
RELIST_SECONDS: Final = 1.0  # a server that answers 410 to every watch is not listed more often
PAGE_OBJECTS: Final = 250
REQUEST_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
EXIT_SECONDS: Final = 20.0  # kopf kills the process if its own exit takes longer
_FIRST_BACKOFFS: Final = (1.0, 1.0, 2.0, 3.0)
_LAST_BACKOFF: Final = 5.0  # an operator that is back within 10 s may spend half of them here


class EndlessBackoffs:
    """Seconds between tries, without end: kopf gives up on a watch when these are exhausted."""

    def __iter__(self) -> Iterator[float]:
        yield from _FIRST_BACKOFFS
        while True:
            yield _LAST_BACKOFF


async def watch(
    feeds: Sequence[Feed[Any]],
    *,
    namespaces: Sequence[str],
    stop: asyncio.Event,
    on_started: Callable[[], None],
) -> None:
    """Runs kopf until `stop`; raises when a watch has died, which must end the process.

    `on_started` is called once kopf has taken the process's signal handlers.
    """
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it logs a line per event
    tasks = await kopf.spawn_tasks(
        registry=registry(feeds),
        settings=settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=list(namespaces),
        stop_flag=stop,
    )
    on_started()
    await kopf.run_tasks(tasks, ignored=AllTasks())
    if not stop.is_set():
        raise BerthError("the watches ended without being told to")


class AllTasks(frozenset["asyncio.Task[Any]"]):
    """None is kopf's own: what runs at its end it would await for 5 s, and then cancel.

    That would hold back a new start after a watch has died, and the Lease with it.
    """

    def __contains__(self, task: object) -> bool:
        return True


class NoDiffs(kopf.DiffBaseStorage):
    """Raw events need no difference to what was handled last; kopf would copy every object."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return


def settings() -> kopf.OperatorSettings:
    chosen = kopf.OperatorSettings()
    chosen.persistence.diffbase_storage = NoDiffs()
    chosen.queueing.idle_timeout = IDLE_SECONDS
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.process.ultimate_exiting_timeout = EXIT_SECONDS
    chosen.networking.error_backoffs = EndlessBackoffs()
    chosen.networking.request_timeout = REQUEST_SECONDS
    chosen.networking.connect_timeout = CONNECT_SECONDS
    chosen.watching.reconnect_backoff = RELIST_SECONDS
    chosen.watching.server_timeout = WATCH_SECONDS
    chosen.watching.inactivity_timeout = SILENCE_SECONDS
    chosen.watching.chunk_size = PAGE_OBJECTS
    return chosen


def registry(feeds: Sequence[Feed[Any]]) -> kopf.OperatorRegistry:
    """One raw handler per watched kind, and the login."""
    handlers = kopf.OperatorRegistry()
    kopf.on.login(registry=handlers)(login)
    for feed in feeds:
        for kind in feed.watched:
            kopf.on.event(
                group=kind.group,
                version=kind.version,
                plural=kind.plural,
                id=kind.plural,
                registry=handlers,
            )(_feeder(kind, feed))
    return handlers


async def login(**given: Any) -> kopf.ConnectionInfo | None:
    """By KUBECONFIG, else by the service account; its token is read anew whenever it expires."""
    return kopf.login_with_kubeconfig(**given) or kopf.login_with_service_account(**given)


def take(feed: Feed[Any], kind: Kind, event: Any) -> None:
    """Takes a watch event into the store, and tells whom it concerns."""
    obj = event["object"]
    if event["type"] == "DELETED":
        feed.report(kind, feed.store.remove(kind, obj["metadata"]["uid"]))
    else:
        feed.report(kind, feed.store.upsert(kind, obj))


def _feeder(kind: Kind, feed: Feed[Any]) -> Callable[..., Any]:
    # Asynchronous, for kopf runs plain functions in threads.
    async def on_event(event: Any, **_: Any) -> None:
        take(feed, kind, event)

    return on_event
