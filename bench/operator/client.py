"""The user's side, and the plainest client that there can be: what creates models and sees them."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

WORKERS: Final = 8  # more are not faster: the API server is the limit
_PAGE: Final = 500
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Client:
    session: aiohttp.ClientSession

    async def create(self, path: str, body: Mapping[str, Any]) -> None:
        async with self.session.post(path, json=body) as answer:
            text = await answer.read()
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise RuntimeError(f"POST {path}: {answer.status} {text[:500]!r}")

    async def count(self, path: str) -> int:
        """How many there are, without reading them."""
        headers = {"Accept": _METADATA}
        query = {"limit": str(_PAGE)}
        found = 0
        while True:
            async with self.session.get(path, params=query, headers=headers) as answer:
                page = json.loads(await answer.read())
            found += len(page["items"] or [])
            if not page["metadata"].get("continue"):
                return found
            query["continue"] = page["metadata"]["continue"]

    async def watch(self, path: str, labels: str = "") -> AsyncIterator[dict[str, Any]]:
        """Events, first ADDED for what is there; never ends by itself."""
        query = {"watch": "true", "labelSelector": labels, "timeoutSeconds": "3600"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.session.get(path, params=query, timeout=timeout) as answer:
            while line := await answer.content.readline():
                yield json.loads(line)


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[Client]:
    """As the user of a kubeconfig that names its certificates as files."""
    server, context = _credentials(kubeconfig)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    # An event of a watch may be larger than the reader's default of 64 KiB.
    async with aiohttp.ClientSession(server, connector=connector, read_bufsize=2**21) as session:
        yield Client(session)


def _credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    return cluster["server"], context


async def in_parallel(work: Sequence[Any], workers: int = WORKERS) -> None:
    """Runs the coroutine functions of `work` in their order, `workers` at a time."""
    left = iter(work)

    async def worker() -> None:
        for one in left:
            await one()

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())
