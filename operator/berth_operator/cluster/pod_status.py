"""What a runtime pod says of itself: `GET /status` of its wrapper or fetcher.

No answer is a usual case (the pod is new, busy or gone) and never an error. Only pods whose
answer can change a decision are asked.
"""

import asyncio
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Final, Protocol

import aiohttp
from pydantic import ValidationError

from berth_api import names
from berth_api.server import PodStatus
from berth_operator.cluster.body import read_whole
from berth_operator.cluster.port import KubeApi
from berth_operator.core.kubernetes import container_statuses, is_starting
from berth_operator.core.observed import Object, Pod
from berth_operator.errors import BerthError

# All pods of a look are asked at once, and a look waits no longer: a healthy wrapper answers in
# milliseconds, and the next look asks again.
TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0)
MAX_STATUS_BYTES: Final = 256 * 1024  # an honest status takes 2 KiB


class PodReader(Protocol):
    async def read(self, pod: Object) -> bytes | None:
        """The body of the pod's `GET /status`; None without a whole answer in time."""
        ...


class DirectReader:
    """By pod IP: for an operator inside the cluster."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def read(self, pod: Object) -> bytes | None:
        address = pod["status"].get("podIP")
        if not address:
            return None
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{names.PORT_SERVER_STATUS}{names.PATH_STATUS}"
        try:
            async with self._session.get(url, timeout=TIMEOUT, allow_redirects=False) as response:
                if response.status != HTTPStatus.OK:
                    return None
                return await read_whole(response.content, MAX_STATUS_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


class ProxyReader:
    """Through the API server: for an operator outside the cluster."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def read(self, pod: Object) -> bytes | None:
        metadata = pod["metadata"]
        try:
            return await self._api.proxy_get(
                metadata["namespace"], metadata["name"], names.PORT_SERVER_STATUS, names.PATH_STATUS
            )
        except BerthError:
            return None


async def with_reports(
    pods: Sequence[Object], reader: PodReader, *, polled: Collection[str]
) -> tuple[Pod, ...]:
    """The pods, each with its report if its uid is in `polled` or it is on its way to readiness."""
    reports = await asyncio.gather(*(_report(pod, reader, polled) for pod in pods))
    return tuple(Pod(pod, report) for pod, report in zip(pods, reports, strict=True))


async def _report(pod: Object, reader: PodReader, polled: Collection[str]) -> PodStatus | None:
    if not _may_answer(pod) or not (pod["metadata"]["uid"] in polled or is_starting(pod)):
        return None
    return await status(pod, reader)


async def status(pod: Object, reader: PodReader) -> PodStatus | None:
    """What the pod says of itself; None if it says nothing that can be read."""
    body = await reader.read(pod)
    try:
        return None if body is None else PodStatus.model_validate_json(body)
    except ValidationError:
        return None


def _may_answer(pod: Object) -> bool:
    """Whether something of the pod can be listening: it has an address and a container that runs.

    A fetcher is an init container.
    """
    running = any("running" in one.get("state", {}) for one in container_statuses(pod))
    return bool(pod.get("status", {}).get("podIP")) and running
