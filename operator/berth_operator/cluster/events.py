"""Posts Kubernetes Events about ModelDeployments, so that repetitions and floods cost nothing.

An Event is a courtesy: it never delays a look, and is dropped rather than queued without bound.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from berth_api import names
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.observed import Object
from berth_operator.core.outcome import Event
from berth_operator.errors import BerthError

log = logging.getLogger(__name__)

# The same words about the same model are posted again after so long, as a higher count.
SILENCE_SECONDS: Final = 120.0
# Per process, as in Karpenter's recorder: a storm over all models must not load the API server.
EVENTS_PER_SECOND: Final = 10.0
BURST_EVENTS: Final = 25
_REMEMBERED_EVENTS: Final = 4096
_QUEUED_EVENTS: Final = 256
_MAX_MESSAGE: Final = 1024  # the API server's limit for a note
_NAME_HASH: Final = 16


@dataclass
class _Series:
    """One Event object: a message about one model, however often it is repeated."""

    first: datetime
    posted_at: float
    count: int = 1


class EventRecorder:
    def __init__(
        self,
        api: KubeApi,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
        instance: str,
    ) -> None:
        self._api = api
        self._clock = clock
        self._wall_clock = wall_clock
        self._instance = instance
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._queue: asyncio.Queue[Json] = asyncio.Queue(maxsize=_QUEUED_EVENTS)
        self._tokens = float(BURST_EVENTS)
        self._refilled_at = clock()

    def post(self, cr: Object, event: Event) -> None:
        """Queues the Event unless it was posted lately or too many were."""
        name = _name(cr, event)
        series = self._series.get(name)
        if series is not None and self._clock() - series.posted_at < SILENCE_SECONDS:
            return
        if self._queue.full() or not self._take_token():
            log.debug("event dropped: %s %s", event.reason, event.message)
            return
        self._queue.put_nowait(self._body(cr, event, name, self._counted(name)))

    async def run(self) -> None:
        while True:
            body = await self._queue.get()
            try:
                await self._api.apply(body)
            except BerthError as error:
                log.warning("event not posted: %s: %s", body["message"], error)

    def _counted(self, name: str) -> _Series:
        series = self._series.pop(name, None)
        if series is None:
            series = _Series(first=self._wall_clock(), posted_at=self._clock())
        else:
            series.count, series.posted_at = series.count + 1, self._clock()
        self._series[name] = series
        while len(self._series) > _REMEMBERED_EVENTS:
            self._series.popitem(last=False)
        return series

    def _take_token(self) -> bool:
        now = self._clock()
        earned = (now - self._refilled_at) * EVENTS_PER_SECOND
        self._tokens, self._refilled_at = min(BURST_EVENTS, self._tokens + earned), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _body(self, cr: Object, event: Event, name: str, series: _Series) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": cr["metadata"]["namespace"]},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                **{field: cr["metadata"][field] for field in ("namespace", "name", "uid")},
            },
            "type": event.type.value,
            "reason": event.reason,
            "message": event.message[:_MAX_MESSAGE],
            "count": series.count,
            "firstTimestamp": timestamp(series.first),
            "lastTimestamp": timestamp(self._wall_clock()),
            "source": {"component": names.MANAGED_BY},
            "reportingComponent": names.MANAGED_BY,
            "reportingInstance": self._instance,
        }


def _name(cr: Object, event: Event) -> str:
    """The same for the same words about the same model: a repetition updates one object."""
    metadata = cr["metadata"]
    said = "\0".join((metadata["uid"], event.type.value, event.reason, event.message))
    return f"{metadata['name']}.{hashlib.sha256(said.encode()).hexdigest()[:_NAME_HASH]}"
