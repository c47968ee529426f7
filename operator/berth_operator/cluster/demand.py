"""Hears every gateway's demand, and says which models to look at because of it.

One stream per gateway pod; which pods there are is watched in the release's own namespace. Nothing
that a gateway sends or fails to send can end the operator: a line that cannot be read costs that
gateway its connection, and it is called again.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final

from berth_api import names
from berth_api.demand import Demand
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import ModelKey
from berth_operator.cluster.demand_calls import Calls, lines, read
from berth_operator.cluster.port import KubeApi
from berth_operator.cluster.wakes import Look, Wakes
from berth_operator.core.kubernetes import is_ready
from berth_operator.core.observed import Load, Object
from berth_operator.core.outcome import Attention
from berth_operator.core.scaling.demand import Ledger
from berth_operator.errors import BerthError

log = logging.getLogger(__name__)

# A gateway that refuses the call is called again after so long at first, at most after so long.
BACKOFF_BASE_SECONDS: Final = 0.2
BACKOFF_CAP_SECONDS: Final = 5.0
# A watch is taken up again after so long, and the pods are listed anew: that finds what it missed.
WATCH_SECONDS: Final = 60
RETRY_SECONDS: Final = 2.0


@dataclass
class _Gateway:
    """One pod, for as long as it is there or its stream goes on."""

    pod: Object
    gone: bool = False
    failures: int = 0  # in a row
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """It is gone, or ready: no pause before the next call is of use."""
        self.failures = 0
        self.news.set()


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
        self._wakes = Wakes(look, clock)
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
                elif event["type"] != "BOOKMARK":
                    self._seen(event["object"], group)

    def _seen(self, pod: Object, group: asyncio.TaskGroup) -> None:
        uid = pod["metadata"]["uid"]
        if is_ready(pod):
            self._ledger.serves(uid, self._clock())
        else:
            self._ledger.serves_no_more(uid)
        known = self._gateways.get(uid)
        if known is not None:
            became_ready = is_ready(pod) and not is_ready(known.pod)
            known.pod = pod
            if became_ready:
                known.tell()
        elif pod.get("status", {}).get("podIP"):
            self._gateways[uid] = gateway = _Gateway(pod)
            group.create_task(self._hear(uid, gateway), name=f"gateway {pod['metadata']['name']}")

    def _gone(self, uid: str) -> None:
        self._ledger.serves_no_more(uid)
        if uid in self._gateways:
            self._gateways[uid].gone = True
            self._gateways[uid].tell()

    async def _hear(self, uid: str, gateway: _Gateway) -> None:
        """Streams, one after the other, until the pod is deleted and the last one has ended."""
        while not gateway.gone:
            before = self._clock()
            gateway.news.clear()
            try:
                await self._stream(uid, gateway)
            except BerthError as error:
                log.info("gateway %s: %s", gateway.pod["metadata"]["name"], error)
            self._ledger.falls_silent(uid, self._clock())
            worked = self._clock() - before > BACKOFF_CAP_SECONDS
            gateway.failures = 0 if worked else gateway.failures + 1
            await self._pause(gateway)
        del self._gateways[uid]
        self._wakes.changed(self._ledger.forget(uid))
        self._judge()

    async def _stream(self, uid: str, gateway: _Gateway) -> None:
        async with self._calls.open(gateway.pod, names.PATH_DEMAND) as chunks:
            async for line in lines(chunks):
                self._take(uid, read(line))

    async def _pause(self, gateway: _Gateway) -> None:
        ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(gateway.failures, 10))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(ceiling / 2, ceiling)):
                await gateway.news.wait()

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
