"""The way to the gateway: by its address, or by a port-forward to one of its pods."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from berth_api import names
from berth_cli import answers, models
from berth_cli.access import Session
from berth_cli.answers import Done, Event, Failed
from berth_cli.commands import Way
from berth_cli.errors import InputError, Refused
from berth_cli.forward import Forwarded, forwarded
from berth_operator.cluster import kinds
from berth_operator.core.kubernetes import container_port
from berth_operator.errors import ApiError

KEY_VARIABLE: Final = "BERTH_API_KEY"
# A held request is silent for as long as spec.queue.maxWaitSeconds, and only a user ends it.
_PATIENT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
_MAX_LINE_BYTES: Final = 1024 * 1024  # of a stream: a chunk is hundreds
_GIVE_KEY: Final = f"give one with --key, or set {KEY_VARIABLE}"


@dataclass(frozen=True)
class Gateway:
    http: aiohttp.ClientSession
    address: str  # without /v1
    forward: Forwarded | None = None

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        """A chat's answer as it comes, to its Done. Raises Refused, InputError."""
        async with aclosing(self._lines(answers.PATH_CHAT, body)) as lines:
            async for line in lines:
                found = answers.event(line)
                if isinstance(found, Failed):
                    raise Refused(found.text)
                if found is not None:
                    yield found
                if isinstance(found, Done):
                    return
        raise Refused("the answer was cut off before its end; ask again")

    async def wake(self, model: str) -> None:
        """Returns when the model has answered. Raises Refused, InputError."""
        async for _ in self._lines(answers.PATH_WAKE, answers.wake(model)):
            pass

    async def settled(self) -> None:
        """The loop stands still between two turns of a chat; what was closed is to be so before."""
        await asyncio.sleep(0)
        if self.forward is not None:
            await self.forward.settled()

    async def _lines(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[str, None]:
        try:
            async with self.http.post(f"{self.address}{path}", json=body) as response:
                if response.status != HTTPStatus.OK:
                    raise self._refused(response.status, await response.read())
                async for line in response.content:
                    yield line.decode(errors="replace")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise InputError(self._unreachable(error)) from error

    def _refused(self, status: int, body: bytes) -> Refused:
        said = f"the gateway refuses: {answers.refused(status, body)}"
        return Refused(f"{said}; {_GIVE_KEY}" if status == HTTPStatus.UNAUTHORIZED else said)

    def _unreachable(self, error: Exception) -> str:
        if self.forward is not None:
            said = self.forward.fault or str(error) or type(error).__name__
            return f"the port-forward to the gateway: {said}; give its address with --url"
        said = str(error) or type(error).__name__
        return f"--url {self.address}: {said}; see that it is the gateway's address"


@asynccontextmanager
async def reached(
    way: Way, session: Session | None, environ: Mapping[str, str]
) -> AsyncIterator[Gateway]:
    """By `way`, or else through `session`'s cluster. Raises Refused, InputError."""
    key = way.key or environ.get(KEY_VARIABLE)
    if way.url is not None:
        async with _http(key) as http:
            yield Gateway(http, way.url)
        return
    if session is None:
        raise InputError("--url: no cluster is known, and no address is given; give one")
    found = session
    pod = (await models.gateways(found))[0]
    name, port = pod["metadata"]["name"], container_port(pod, "http", names.PORT_GATEWAY)
    key = key or await first_key(found)
    async with (
        forwarded(lambda: found.api.forward(found.release, name, port)) as forward,
        _http(key, aiohttp.UnixConnector(str(forward.path), force_close=True)) as http,
    ):
        yield Gateway(http, "http://gateway", forward)


def _http(key: str | None, way: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return aiohttp.ClientSession(
        connector=way, headers=headers, timeout=_PATIENT, read_bufsize=_MAX_LINE_BYTES
    )


async def first_key(session: Session) -> str | None:
    """The administrator's, where this user may read it; None: the gateway will say what it needs.

    It goes to the release's own gateway only, never to an address that was given.
    """
    try:
        found = await session.api.get(kinds.SECRET, session.release, names.SECRET_FIRST_API_KEY)
    except ApiError:
        return None
    kept = found.get("data", {}).get(names.FIRST_API_KEY_FIELD)
    return base64.b64decode(kept).decode() if kept else None
