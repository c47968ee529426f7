"""`python -m berth_operator`: wires the operator together, and ends it in order.

Exit codes: 0 after SIGTERM, 1 when something failed for good (a watch died, the Lease was lost)
and a new process should try, 2 when the configuration must change first.
"""

import asyncio
import gc
import logging
import os
import random
import secrets
import signal
import socket
import sys
import time
import uuid
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp

from berth_api import names
from berth_operator import handlers, management, models_api, watchdog
from berth_operator.cluster import bootstrap, kinds, sync
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.demand import DemandFeed
from berth_operator.cluster.demand_calls import Calls, DirectCalls, ProxiedCalls
from berth_operator.cluster.events import EventRecorder
from berth_operator.cluster.execute import Executor
from berth_operator.cluster.gauges import Gauges
from berth_operator.cluster.kubernetes_api import KubernetesApi, connect
from berth_operator.cluster.learned import Memory
from berth_operator.cluster.lease import LeaderLease, Leadership, NoElection
from berth_operator.cluster.model_gauges import ModelGauges
from berth_operator.cluster.observe import Observer
from berth_operator.cluster.pod_status import DirectReader, PodReader, ProxyReader
from berth_operator.cluster.pools.execute import PoolExecutor
from berth_operator.cluster.pools.observe import PoolObserver
from berth_operator.cluster.pools.orders import DirectOrders, OrderSender, ProxiedOrders
from berth_operator.cluster.pools.store import PoolKey, PoolStore
from berth_operator.cluster.port import KubeApi
from berth_operator.cluster.reflector import Reflector
from berth_operator.cluster.store import K
from berth_operator.cluster.sync import Feed
from berth_operator.cluster.warnings import WarningReader
from berth_operator.core.decide import decide
from berth_operator.core.objects import pool_pods
from berth_operator.core.observed import Load, Object
from berth_operator.core.outcome import Attention
from berth_operator.core.planner.context import Context
from berth_operator.errors import BerthError, ConfigurationError
from berth_operator.metrics import Metrics
from berth_operator.news import News
from berth_operator.pool_reconcile import PoolReconciler
from berth_operator.reconcile import Reconciler
from berth_operator.settings import PodAccess, Settings, load
from berth_operator.workqueue import REST_SECONDS, WorkQueue

log = logging.getLogger("berth_operator")

EXIT_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2
WORKERS: Final = 8  # 32 were not faster: the API server is the limit
POOL_WORKERS: Final = 2
FINISH_SECONDS: Final = 10.0  # for looks in progress after SIGTERM
# Python looks for cycles after 700 new objects, which is a small list of the API server's: half the
# time of reading one. What was imported has none, and need not be looked through each time.
GARBAGE_OBJECTS: Final = 20_000

T = TypeVar("T")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    try:
        asyncio.run(_run(load(os.environ), os.environ))
    except Exception as error:  # noqa: BLE001 -- the last stop: an exit code tells the kind
        return _exit_code(error)
    return 0


async def _run(settings: Settings, environ: Mapping[str, str]) -> None:
    client = await connect(environ)
    try:
        async with aiohttp.ClientSession() as session:
            await _assemble(settings, client, session).run()
    finally:
        await client.close()


@dataclass(frozen=True)
class _Operator:
    settings: Settings
    api: KubeApi  # writes only while it leads
    writer: KubeApi  # writes always
    pods: PodReader
    demand: DemandFeed
    gauges: Gauges
    leadership: Leadership
    identity: str
    metrics: Metrics
    memory: Memory
    cache: Cache
    queue: WorkQueue[ModelKey]
    news: News
    sender: OrderSender
    feeds: Sequence[Feed[Any]]
    reflectors: Sequence[Reflector[Any]]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    synced: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until SIGTERM, or until something fails for good."""
        self._take_signals()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(watchdog.watch(), name="watchdog"),
                    group.create_task(self._serve(), name="management"),
                    group.create_task(self._serve_models(), name="models"),
                ]
                if await self._unless_stopping(self.leadership.acquire()) is not None:
                    tasks.append(group.create_task(self._hold(), name="lease"))
                    await self._lead()
                for task in tasks:
                    task.cancel()
        finally:
            await self.leadership.release()

    async def _hold(self) -> None:
        def regained() -> None:
            self.queue.retry_failed()
            self.news.pools.retry_failed()

        await self.leadership.hold(regained=regained)

    async def _lead(self) -> None:
        master_key = await self._unless_stopping(self._prepare())
        if master_key is not None:
            await self._work(Context(self.settings, master_key))

    async def _prepare(self) -> bytes:
        """Before the first decision: the release's Secrets, and all that exists."""
        namespace = self.settings.namespace
        master_key = await sync.patiently(
            partial(bootstrap.prepare, self.api, namespace, secrets.token_bytes)
        )
        await sync.patiently(self.memory.read)
        async with asyncio.TaskGroup() as lists:  # one is read while the server writes another
            for reflector in self.reflectors:
                lists.create_task(sync.patiently(reflector.fill), name=reflector.name)
            for feed in self.feeds:
                lists.create_task(sync.fill(self.api, feed, self.settings.watch_namespaces))
        self.queue.add_all(self.cache.models())
        self.news.pools.add_all(self.news.pool_store.pools())
        self.synced.set()
        return master_key

    async def _work(self, context: Context) -> None:
        """Watches and looks, until stopping; then ends them in the order of their need."""
        events = EventRecorder(
            self.api, clock=time.monotonic, wall_clock=_now, instance=self.identity
        )
        no_more_events = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            looks = group.create_task(
                self.queue.run(self._reconciler(context, events), workers=WORKERS), name="looks"
            )
            pool_looks = group.create_task(
                self.news.pools.run(self._pool_reconciler(context), workers=POOL_WORKERS),
                name="pools",
            )
            helpers = [
                looks,
                pool_looks,
                group.create_task(events.run(), name="events"),
                group.create_task(self._audit(), name="audit"),
                group.create_task(self.demand.run(), name="demand"),
                group.create_task(self.gauges.run(), name="gauges"),
                *(group.create_task(one.run(), name=one.name) for one in self.reflectors),
            ]
            watches = group.create_task(self._watch(no_more_events), name="watches")
            await self.stopping.wait()
            self.queue.close()
            self.news.pools.close()
            await asyncio.wait([looks, pool_looks], timeout=FINISH_SECONDS)
            no_more_events.set()
            await watches
            for task in helpers:
                task.cancel()

    def _reconciler(self, context: Context, events: EventRecorder) -> Reconciler:
        return Reconciler(
            observer=Observer(
                cache=self.cache,
                pods=self.pods,
                warnings=WarningReader(self.api, clock=time.monotonic),
                wall_clock=_now,
                learned=lambda: self.memory.records,
                load=self._load,
                shapes=self.settings.model_shapes,
                pool=lambda namespace, name: self.news.pool_store.pool(PoolKey(namespace, name)),
            ),
            decide=decide,
            context=context,
            executor=Executor(self.api, self.cache, events.post, self.memory),
            metrics=self.metrics,
            attend=self._attend,
        )

    def _pool_reconciler(self, context: Context) -> PoolReconciler:
        return PoolReconciler(
            observer=PoolObserver(
                store=self.news.pool_store,
                cache=self.cache,
                pods=self.pods,
                wall_clock=_now,
                load=self.demand.load,
            ),
            executor=PoolExecutor(
                self.api,
                self.news.pool_store,
                self.sender,
                may_write=self.leadership.is_leader,
                pool_key=lambda uid: pool_pods.key(uid, context.master_key),
            ),
            context=context,
            cache=self.cache,
            metrics=self.metrics,
            report=self.queue.hurry,
        )

    def _load(self, key: ModelKey, pods: Sequence[Object]) -> Load:
        return replace(self.demand.load(key), engines=self.gauges.engines(pods))

    def _attend(self, key: ModelKey, attention: Attention | None) -> None:
        self.demand.attend(key, attention)
        self.gauges.attend(key, wanted=attention is not None and attention.engines)

    async def _watch(self, stop: asyncio.Event) -> None:
        await handlers.watch(
            self.feeds,
            namespaces=self.settings.watch_namespaces,
            stop=stop,
            on_started=self._take_signals,
        )

    async def _audit(self) -> None:
        await sync.audit_for_ever(
            self.api,
            self.feeds,
            self.settings.watch_namespaces,
            memory=self.memory,
            chance=_chance(),
        )

    async def _serve(self) -> None:
        self.metrics.queue_depth.set_function(lambda: self.queue.depth)
        self.metrics.queue_age_seconds.set_function(self.queue.waiting_seconds)
        self.metrics.gateways.set_function(self.demand.gateways)
        self.metrics.leading.set_function(self.leadership.is_leader)
        self.metrics.registry.register(ModelGauges(self.cache))
        application = management.app(
            alive=lambda: watchdog.problems(self.queue, self.news.pools),
            ready=self._unready,
            metrics=self.metrics,
        )
        await management.serve(application, port=self.settings.management_port)

    async def _serve_models(self) -> None:
        """A standby too: who leads is for what the operator itself decides."""
        await models_api.run(self.writer, self.settings)

    def _unready(self) -> list[str]:
        """A standby is ready: it can take over."""
        filling = self.leadership.is_leader() and not self.synced.is_set()
        return ["the first lists are not read yet"] if filling else []

    async def _unless_stopping(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` returns; None if SIGTERM came before."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stopping.cancel()

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)


def _assemble(settings: Settings, client: Any, session: aiohttp.ClientSession) -> _Operator:
    metrics = Metrics()
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    writer = KubernetesApi(client, may_write=lambda: True, metrics=metrics)
    leadership: Leadership = NoElection()
    if settings.leader_election:
        leadership = LeaderLease(
            writer,
            namespace=settings.namespace,
            name=names.LEASE_NAME,
            identity=identity,
            clock=time.monotonic,
            wall_clock=_now,
        )
    api = KubernetesApi(client, may_write=leadership.is_leader, metrics=metrics)
    direct = settings.pod_access is PodAccess.DIRECT
    pods: PodReader = DirectReader(session) if direct else ProxyReader(api)
    calls: Calls = DirectCalls(session) if direct else ProxiedCalls(api)
    cache = Cache()
    queue: WorkQueue[ModelKey] = WorkQueue(
        clock=time.monotonic, chance=_chance(), rest_seconds=REST_SECONDS
    )
    store = PoolStore(cache.occupy)
    pool_queue: WorkQueue[PoolKey] = WorkQueue(
        clock=time.monotonic, chance=_chance(), rest_seconds=REST_SECONDS
    )
    news = News(cache, queue, store, pool_queue)
    return _Operator(
        settings=settings,
        api=api,
        writer=writer,
        pods=pods,
        demand=DemandFeed(
            api,
            calls,
            news.hurry,
            namespace=settings.namespace,
            selector=settings.gateway_selector,
            clock=time.monotonic,
            chance=_chance(),
        ),
        gauges=Gauges(cache, pods, queue.add_all, time.monotonic, _chance()),
        leadership=leadership,
        identity=identity,
        metrics=metrics,
        memory=Memory(api, settings.namespace),
        cache=cache,
        queue=queue,
        news=news,
        sender=DirectOrders(session) if direct else ProxiedOrders(api),
        feeds=[
            Feed(cache, kinds.handled(nodes=settings.read_nodes), news.of_models),
            Feed(store, (kinds.POOL,), news.of_pools),
        ],
        reflectors=[
            *_reflectors(
                api,
                settings,
                Feed(cache, kinds.OWNED, news.of_models),
                labels=names.LABEL_MODEL,
            ),
            *_reflectors(
                api,
                settings,
                Feed(store, kinds.POOL_OWNED, news.of_pools),
                labels=names.LABEL_POOL,
            ),
        ],
    )


def _reflectors(
    api: KubeApi, settings: Settings, feed: Feed[K], *, labels: str
) -> list[Reflector[K]]:
    """Of what Berth owns, by the label that says so."""
    return [
        Reflector(
            api,
            feed.store,
            kind,
            namespace,
            labels=labels,
            report=partial(feed.report, kind),
            chance=_chance(),
        )
        for kind in feed.watched
        for namespace in settings.watch_namespaces or (None,)
    ]


def _chance() -> random.Random:
    return random.Random()  # noqa: S311 -- spreads load, guards nothing


def _exit_code(error: BaseException) -> int:
    """Says in one line each what failed; whatever is not Berth's own comes with its traceback."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ConfigurationError):
            print(f"berth-operator: {cause}", file=sys.stderr)
        else:
            known = isinstance(cause, BerthError)
            log.critical("%s: %s", type(cause).__name__, cause, exc_info=None if known else cause)
    configuration = all(isinstance(cause, ConfigurationError) for cause in causes)
    return EXIT_CONFIGURATION if configuration else EXIT_FAILED


def _causes(error: BaseException) -> Iterable[BaseException]:
    """The errors that a task group collected, flat."""
    nested = getattr(error, "exceptions", None)
    if nested is None:
        yield error
        return
    for one in nested:
        yield from _causes(one)


def _now() -> datetime:
    return datetime.now(timezone.utc)


if __name__ == "__main__":
    sys.exit(main())
