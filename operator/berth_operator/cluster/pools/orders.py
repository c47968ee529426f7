"""The way of orders to a pool's pod: `PUT /engines` on its status port, with the pool's key."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import aiohttp

from berth_api import names
from berth_api.pool_server import EngineOrders
from berth_operator.cluster.body import read_whole
from berth_operator.cluster.port import KubeApi
from berth_operator.core.observed import Object
from berth_operator.errors import Conflict, Denied, Unavailable

# A pod answers within milliseconds; the next look tries again.
TIMEOUT: Final = aiohttp.ClientTimeout(total=3.0)
_MAX_ANSWER_BYTES: Final = 256 * 1024
# What the same orders will be answered with again, and a user should hear of: a key that the pod
# does not have, more than it reads, what it cannot hold.
_NEVER: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
_JSON: Final = "application/json"


class OrderSender(Protocol):
    async def put(self, pod: Object, orders: EngineOrders, key: str) -> None:
        """Raises Conflict if the pod has newer ones, Denied if it can never obey, Unavailable."""
        ...


@dataclass(frozen=True)
class DirectOrders:
    """By pod IP: for an operator inside the cluster."""

    session: aiohttp.ClientSession

    async def put(self, pod: Object, orders: EngineOrders, key: str) -> None:
        address = pod["status"].get("podIP", "")
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{names.PORT_SERVER_STATUS}{names.PATH_ENGINES}"
        headers = {names.HEADER_POOL_KEY: key, "Content-Type": _JSON}
        try:
            async with self.session.put(
                url, data=orders.wire(), headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as answer:
                body = await read_whole(answer.content, _MAX_ANSWER_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{url}: {str(error) or type(error).__name__}") from error
        judge(answer.status, body or b"", pod)


@dataclass(frozen=True)
class ProxiedOrders:
    """Through the API server: for an operator outside the cluster."""

    api: KubeApi

    async def put(self, pod: Object, orders: EngineOrders, key: str) -> None:
        metadata = pod["metadata"]
        code, body = await self.api.proxy_put(
            metadata["namespace"],
            metadata["name"],
            names.PORT_SERVER_STATUS,
            names.PATH_ENGINES,
            body=json.loads(orders.wire()),
            headers={names.HEADER_POOL_KEY: key},
        )
        judge(code, body, pod)


def judge(status: int, body: bytes, pod: Object) -> None:
    """Raises for an answer that is not the pod's consent."""
    if status == HTTPStatus.OK:
        return
    said = body.decode(errors="replace")[:2000]
    message = f"pod {pod['metadata']['name']} answered its orders with {status}: {said}"
    if status == HTTPStatus.CONFLICT:
        raise Conflict(message, status=status)
    if status in _NEVER:
        raise Denied(message, status=status)
    raise Unavailable(message, status=status)
