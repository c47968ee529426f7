"""Hears every gateway's demand, and says which models to look at because of it.

One stream per gateway pod; which pods there are is watched in the release's own namespace. Nothing
that a gateway sends or fails to send can end the operator: a line that cannot be read costs that
gateway its connection, and it is called again.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

import aiohttp
from pydantic import ValidationError

from berth_api import names
from berth_api.demand import HEARTBEAT_SECONDS, Demand
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import ModelKey
from berth_operator.cluster.port import KubeApi
from berth_operator.core.demand import Key, Ledger
from berth_operator.core.kubernetes import is_ready
from berth_operator.core.observed import Load, Object
from berth_operator.core.outcome import Attention
from berth_operator.errors import BerthError, Unavailable

log = logging.getLogger(__name__)

SILENCE_SECONDS: Final = 3 * HEARTBEAT_SECONDS
# 5,000 models with some pods each take 2 MiB.
MAX_LINE_BYTES: Final = 16 * 2**20
# A gateway that refuses the call is called again after so long at first, at most after so long.
BACKOFF_BASE_SECONDS: Final = 0.2
BACKOFF_CAP_SECONDS: Final = 5.0
# A change that cannot lead to another decision at once is looked at within this; a model that the
# user sizes has its queue told only.
PATIENCE_SECONDS: Final = 1.0
QUEUE_PATIENCE_SECONDS: Final = 5.0
# A watch is taken up again after so long, and the pods are listed anew: that finds what it missed.
WATCH_SECONDS: Final = 60
RETRY_SECONDS: Final = 2.0
_CONNECT_SECONDS: Final = 3.0

Chunks = AsyncIterator[bytes]
PORT_NAME: Final = "management"


class Calls(Protocol):
    """The way to a gateway pod's management port."""

    def open(self, pod: Object, path: str) -> AbstractAsyncContextManager[Chunks]:
        """The body of a GET as it comes, without end. Raises Unavailable."""
        ...


@dataclass(frozen=True)
class DirectCalls:
    """By pod IP: for an operator inside the cluster."""

    session: aiohttp.ClientSession

    @asynccontextmanager
    async def open(self, pod: Object, path: str) -> AsyncIterator[Chunks]:
        address = pod.get("status", {}).get("podIP")
        if not address:
            raise Unavailable(f"pod {pod['metadata']['name']} has no address")
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{port(pod)}{path}"
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        with _unreachable(url):
            async with self.session.get(url, timeout=limits, allow_redirects=False) as answer:
                if answer.status != HTTPStatus.OK:
                    raise Unavailable(f"{url} answered {answer.status}", status=answer.status)
                yield answer.content.iter_any()


@dataclass(frozen=True)
class ProxiedCalls:
    """Through the API server: for an operator outside the cluster."""

    api: KubeApi

    def open(self, pod: Object, path: str) -> AbstractAsyncContextManager[Chunks]:
        metadata = pod["metadata"]
        return self.api.proxy_stream(metadata["namespace"], metadata["name"], port(pod), path)


@contextmanager
def _unreachable(what: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{what}: {str(error) or type(error).__name__}") from error


def port(pod: Object) -> int:
    """The container port that is named for it: whoever starts a gateway may choose the number."""
    for container in pod["spec"].get("containers", ()):
        for one in container.get("ports", ()):
            if one.get("name") == PORT_NAME:
                number: int = one["containerPort"]
                return number
    return names.PORT_GATEWAY_MANAGEMENT


async def lines(chunks: Chunks, limit: int = MAX_LINE_BYTES) -> AsyncIterator[bytes]:
    """Whole lines. Raises Unavailable for one above the limit, or none for SILENCE_SECONDS."""
    pending = bytearray()
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                chunk = await anext(chunks, b"")
        except TimeoutError as error:
            raise Unavailable(f"silent for {SILENCE_SECONDS:.0f} s") from error
        if not chunk:
            raise Unavailable("the stream has ended")
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            yield bytes(pending + part)
            pending.clear()
        pending += rest
        if len(pending) > limit:
            raise Unavailable(f"a line is longer than {limit} bytes")


@dataclass
class _Gateway:
    """One pod, for as long as it is there or its stream goes on."""

    pod: Object
    gone: asyncio.Event = field(default_factory=asyncio.Event)


Look = Callable[[Iterable[ModelKey]], None]
"""Puts models on the work queue."""


class DemandFeed:
    """What all gateways tell, for the leader. `selector` finds their pods in `namespace`."""

    def __init__(
        self,
        api: KubeApi,
        calls: Calls,
        look: Look,
        *,
        namespace: str,
        selector: str,
        clock: Callable[[], float],
        chance: random.Random,
    ) -> None:
        self._api = api
        self._calls = calls
        self._wakes = _Wakes(look, clock)
        self._namespace = namespace
        self._selector = selector
        self._clock = clock
        self._chance = chance
        self._ledger = Ledger()
        self._gateways: dict[str, _Gateway] = {}
        self._was_complete = False

    def load(self, key: ModelKey) -> Load:
        return self._ledger.load(key, self._clock())

    def attend(self, key: ModelKey, attention: Attention | None) -> None:
        """What the last decision about a model asks for; None: it is gone or left alone."""
        self._wakes.attend(key, attention)
        if attention is None:
            self._ledger.forget_model(key)

    def gateways(self) -> int:
        """Whose word counts now."""
        return self._ledger.gateways(self._clock())

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._follow(group)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        try:
            await self._list_and_watch(group)
        except BerthError as error:
            log.warning("the gateways' pods cannot be watched: %s", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _list_and_watch(self, group: asyncio.TaskGroup) -> None:
        listed = await self._api.list_all(kinds.POD, self._namespace, labels=self._selector)
        for uid in self._gateways.keys() - {pod["metadata"]["uid"] for pod in listed}:
            self._gone(uid)
        for pod in listed:
            self._seen(pod, group)
        watched = self._api.watch(
            kinds.POD, self._namespace, labels=self._selector, seconds=WATCH_SECONDS
        )
        async with aclosing(watched) as events:
            async for event in events:
                if event["type"] == "DELETED":
                    self._gone(event["object"]["metadata"]["uid"])
                else:
                    self._seen(event["object"], group)

    def _seen(self, pod: Object, group: asyncio.TaskGroup) -> None:
        uid = pod["metadata"]["uid"]
        if is_ready(pod):
            self._ledger.serves(uid, self._clock())
        else:
            self._ledger.serves_no_more(uid)
        known = self._gateways.get(uid)
        if known is not None:
            known.pod = pod
        elif pod.get("status", {}).get("podIP"):
            self._gateways[uid] = gateway = _Gateway(pod)
            group.create_task(self._hear(uid, gateway), name=f"gateway {pod['metadata']['name']}")

    def _gone(self, uid: str) -> None:
        self._ledger.serves_no_more(uid)
        if uid in self._gateways:
            self._gateways[uid].gone.set()

    async def _hear(self, uid: str, gateway: _Gateway) -> None:
        """Streams, one after the other, until the pod is deleted and the last one has ended."""
        failures = 0
        while not gateway.gone.is_set():
            before = self._clock()
            try:
                await self._stream(uid, gateway)
            except BerthError as error:
                log.info("gateway %s: %s", gateway.pod["metadata"]["name"], error)
            self._ledger.falls_silent(uid, self._clock())
            failures = 0 if self._clock() - before > BACKOFF_CAP_SECONDS else failures + 1
            await self._pause(gateway, failures)
        del self._gateways[uid]
        self._wakes.changed(self._ledger.forget(uid))
        self._judge()

    async def _stream(self, uid: str, gateway: _Gateway) -> None:
        async with self._calls.open(gateway.pod, names.PATH_DEMAND) as chunks:
            async for line in lines(chunks):
                self._take(uid, _read(line))

    async def _pause(self, gateway: _Gateway, failures: int) -> None:
        ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(failures, 10))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(ceiling / 2, ceiling)):
                await gateway.gone.wait()

    def _take(self, uid: str, told: Demand) -> None:
        now = self._clock()
        changed = self._ledger.changed(uid, told)
        before = self._ledger.loads(changed, now)
        self._ledger.take(uid, told, now)
        for key, after in self._ledger.loads(changed, now).items():
            self._wakes.news(ModelKey(*key), before[key], after)
        self._judge()

    def _judge(self) -> None:
        """Once the sums are complete, what was put off for want of them is decided."""
        complete = self._ledger.judge(self._clock())
        if complete and not self._was_complete:
            self._wakes.all()
        self._was_complete = complete


def _read(line: bytes) -> Demand:
    try:
        return Demand.model_validate_json(line)
    except ValidationError as error:
        raise Unavailable(f"not a line of demand: {line[:80]!r}") from error


class _Wakes:
    """When a change of the load is looked at: at once, or with others a moment later."""

    def __init__(self, look: Look, clock: Callable[[], float]) -> None:
        self._look = look
        self._clock = clock
        self._attention: dict[Key, Attention] = {}
        self._looked_at: dict[Key, float] = {}
        self._due: dict[Key, asyncio.TimerHandle] = {}

    def attend(self, key: Key, attention: Attention | None) -> None:
        if attention is None:
            self._attention.pop(key, None)
            self._looked_at.pop(key, None)
            self._cancel(key)
        else:
            self._attention[key] = attention

    def news(self, key: ModelKey, before: Load, after: Load) -> None:
        if _urgent(self._attention.get(key), before, after):
            self._now(key)
        else:
            self._soon(key)

    def changed(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._soon(ModelKey(*key))

    def all(self) -> None:
        """Those that Berth sizes."""
        self.changed([key for key, one in self._attention.items() if one.capacity is not None])

    def _soon(self, key: ModelKey) -> None:
        if key in self._due:
            return
        attention = self._attention.get(key)
        sized_by_user = attention is not None and attention.capacity is None
        patience = QUEUE_PATIENCE_SECONDS if sized_by_user else PATIENCE_SECONDS
        since = self._clock() - self._looked_at.get(key, -patience)
        delay = max(0.0, patience - since)
        self._due[key] = asyncio.get_running_loop().call_later(delay, self._now, key)

    def _now(self, key: ModelKey) -> None:
        self._cancel(key)
        self._looked_at[key] = self._clock()
        self._look((key,))

    def _cancel(self, key: Key) -> None:
        due = self._due.pop(key, None)
        if due is not None:
            due.cancel()


def _urgent(attention: Attention | None, before: Load, after: Load) -> bool:
    """Whether the decision may be another one: someone waits, or no one any more, or too many."""
    if attention is None or attention.capacity is None:
        return False
    if (before.held == 0) != (after.held == 0):
        return True
    return _requests(before) <= attention.capacity < _requests(after)


def _requests(load: Load) -> int:
    return load.held + sum(load.in_flight.values())
