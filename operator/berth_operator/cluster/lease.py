"""Leader election on a Lease: at most one operator writes.

Our own, for both Python clients' leave two leaders after one refused connection. Only locally
observed change on the monotonic clock counts, so that clocks may differ between nodes. There is
no fencing in Kubernetes: writes stop 5 s before another can lead, and a write that is still on
its way is harmless, because names are deterministic and deletions carry uids.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol

from berth_operator.cluster import kinds
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.errors import ApiError, LeadershipLost, NotFound

log = logging.getLogger(__name__)

# The figures of client-go's components: another may lead after 15 s of silence, the leader stops
# itself after 10 s without a renewal, and tries every 2 s.
LEASE_SECONDS: Final = 15
RENEW_DEADLINE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 2.0
# How often a standby looks: by so much it may count a renewal too late, and lead too late.
LOOK_SECONDS: Final = 1.0
# For so long a leader that gets no answer waits for one, without writing: while nobody else takes
# the Lease, it goes on at once, and a new process would first have to watch it for 15 s. Then it
# ends, for its way to the API server may be what is broken.
SUSPENDED_SECONDS: Final = 300.0
# Two attempts fit into the deadline even if the API server hangs instead of failing.
ATTEMPT_SECONDS: Final = 4.0


class Leadership(Protocol):
    def is_leader(self) -> bool:
        """Whether nobody else can lead at this moment: asked before every write."""
        ...

    async def acquire(self) -> bool:
        """Returns True when this operator leads."""
        ...

    async def hold(self, regained: Callable[[], None]) -> None:
        """Never returns; raises LeadershipLost when another leads, or may have led.

        `regained` is called when writes are allowed again after they were not.
        """
        ...

    async def release(self) -> None: ...


class NoElection:
    """For the only operator of a development cluster: it always leads."""

    def is_leader(self) -> bool:
        return True

    async def acquire(self) -> bool:
        return True

    async def hold(self, regained: Callable[[], None]) -> None:
        del regained
        await asyncio.Event().wait()

    async def release(self) -> None:
        return


class LeaderLease:
    def __init__(
        self,
        api: KubeApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`identity` must be new for every process: a restarted one must not think it leads."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._renewed_at: float | None = None
        self._seen: Json = {}
        self._seen_at = clock()

    def is_leader(self) -> bool:
        return (
            self._renewed_at is not None
            and self._clock() - self._renewed_at < RENEW_DEADLINE_SECONDS
        )

    async def acquire(self) -> bool:
        while not await self._try():
            await self._sleep(self._until_next_look())
        log.info("leading as %s", self._identity)
        return True

    async def hold(self, regained: Callable[[], None]) -> None:
        while True:
            await self._sleep(RETRY_SECONDS)
            led = self.is_leader()
            if await self._try() and not led:
                log.warning("leading again: nobody else has led meanwhile")
                regained()
            self._end_if_lost()

    def _end_if_lost(self) -> None:
        lease = f"lease {self._namespace}/{self._name}"
        if self._renewed_at is None:
            raise LeadershipLost(f"{lease} is held by another operator")
        silent = self._clock() - self._renewed_at
        if silent > SUSPENDED_SECONDS:
            raise LeadershipLost(f"{lease} was not renewed for {silent:.0f} s")

    async def release(self) -> None:
        """Lets a standby lead at once instead of after 15 s; a failure costs only those."""
        if not self.is_leader():
            return
        self._renewed_at = None
        try:
            live = await self._api.get(kinds.LEASE, self._namespace, self._name)
            if live["spec"].get("holderIdentity") == self._identity:
                await self._api.replace(_with_spec(live, {"holderIdentity": ""}))
        except ApiError as error:
            log.warning("the lease was not released: %s", error)

    async def _try(self) -> bool:
        """One attempt to take or renew the Lease."""
        started_at = self._clock()  # before the request: the deadline must not profit from delay
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                await self._write()
        except (ApiError, TimeoutError) as error:
            log.warning("lease not renewed: %s", str(error) or "no answer in time")
            return False
        except _HeldByAnother:
            self._renewed_at = None
            return False
        self._renewed_at = started_at
        return True

    async def _write(self) -> None:
        try:
            live = await self._api.get(kinds.LEASE, self._namespace, self._name)
        except NotFound:
            await self._api.create(self._new())
            return
        holder = live["spec"].get("holderIdentity") or ""
        if holder == self._identity:
            await self._api.replace(_with_spec(live, {"renewTime": self._now()}))
        elif self._renewed_at is None and (not holder or self._is_silent(live)):
            await self._api.replace(_with_spec(live, self._taken(live)))
        else:
            raise _HeldByAnother

    def _is_silent(self, live: Json) -> bool:
        """Whether the holder has not renewed for as long as it promised to."""
        if live["spec"] != self._seen:
            self._seen, self._seen_at = live["spec"], self._clock()
        return self._promised_seconds() <= 0

    def _promised_seconds(self) -> float:
        """For how long the holder that was last seen may still be silent."""
        promised: int = self._seen.get("leaseDurationSeconds", LEASE_SECONDS)
        return self._seen_at + promised - self._clock()

    def _until_next_look(self) -> float:
        """Not later than the end of that silence; else a standby would oversleep it."""
        promised = self._promised_seconds()
        return min(LOOK_SECONDS, promised) if promised > 0 else LOOK_SECONDS

    def _taken(self, live: Json) -> Json:
        now = self._now()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": live["spec"].get("leaseTransitions", 0) + 1,
        }

    def _new(self) -> Json:
        return {
            "apiVersion": kinds.LEASE.api_version,
            "kind": kinds.LEASE.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": self._taken({"spec": {"leaseTransitions": -1}}),
        }

    def _now(self) -> str:
        return self._wall_clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _HeldByAnother(Exception):
    pass


def _with_spec(live: Json, changed: Json) -> Json:
    return {**live, "spec": {**live["spec"], **changed}}
