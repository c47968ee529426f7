"""HTTP to the engine on loopback, with the engine key; the wrapper's only way to talk to it.

Standard library only, one connection per call, run in a thread: the calls are few, and a hung
engine must not hang the status page.
"""

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any, Final

from berth_server.errors import EngineUnreachable

_LOOPBACK: Final = "127.0.0.1"
# A metrics page of a large engine is some 200 KiB; more is not for us.
_MAX_BODY_BYTES: Final = 8 * 2**20


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes

    def json(self) -> Any:
        """The body's value; EngineUnreachable if it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise EngineUnreachable(f"the engine answered {self.body[:80]!r}") from error


@dataclass(frozen=True)
class Client:
    port: int
    key: str

    async def get(self, path: str, timeout_seconds: float) -> Reply:
        return await asyncio.to_thread(self._call, "GET", path, None, timeout_seconds)

    async def post(self, path: str, body: Any, timeout_seconds: float) -> Reply:
        return await asyncio.to_thread(self._call, "POST", path, body, timeout_seconds)

    async def delete(self, path: str, timeout_seconds: float) -> Reply:
        return await asyncio.to_thread(self._call, "DELETE", path, None, timeout_seconds)

    def _call(self, method: str, path: str, body: Any, timeout_seconds: float) -> Reply:
        """`timeout_seconds` bounds each socket operation. Raises EngineUnreachable."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        payload = None if body is None else json.dumps(body)
        connection = http.client.HTTPConnection(_LOOPBACK, self.port, timeout=timeout_seconds)
        try:
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            return Reply(response.status, response.read(_MAX_BODY_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise EngineUnreachable(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
