"""The way to a gateway's `/demand`, and its stream cut into lines."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import aiohttp
from pydantic import ValidationError

from berth_api import names
from berth_api.demand import HEARTBEAT_SECONDS, Demand
from berth_operator.cluster.port import KubeApi
from berth_operator.core.kubernetes import container_port
from berth_operator.core.observed import Object
from berth_operator.errors import Unavailable

SILENCE_SECONDS: Final = 3 * HEARTBEAT_SECONDS
# 5,000 models with some pods each take 2 MiB.
MAX_LINE_BYTES: Final = 16 * 2**20
_CONNECT_SECONDS: Final = 3.0
_PORT_NAME: Final = "management"

Chunks = AsyncIterator[bytes]


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
    """On which a gateway tells its demand."""
    return container_port(pod, _PORT_NAME, names.PORT_GATEWAY_MANAGEMENT)


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


def read(line: bytes) -> Demand:
    """Raises Unavailable for what is no line of demand."""
    try:
        return Demand.model_validate_json(line)
    except ValidationError as error:
        raise Unavailable(f"not a line of demand: {line[:80]!r}") from error
