"""The end of a pod in order: refuse new work, let what is in flight finish, then stop the engine.

vLLM's own `--shutdown-timeout` is not used: while it drains it answers 500 to new requests, and
when it expires with streams open the process lives until its clients hang up (tried, 0.32).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from berth_server import variables
from berth_server.client import Client
from berth_server.errors import EngineUnreachable
from berth_server.launch import Process

_log = logging.getLogger("berth.server")

# Fast enough that an idle pod ends at once, slow enough to cost a busy one nothing.
_POLL_SECONDS: Final = 0.25
_CONTROL_TIMEOUT_SECONDS: Final = 5.0
# vLLM gives its workers 5 s and then 5 s more.
STOP_SECONDS: Final = 12.0


async def in_flight(client: Client) -> int:
    """Requests that the engine has not answered. Raises EngineUnreachable."""
    reply = await client.get(variables.PATH_LOAD, _CONTROL_TIMEOUT_SECONDS)
    return _count(reply.json())


async def finish(
    client: Client, engine: Process, timeout_seconds: float, report: Callable[[int], None]
) -> int:
    """Refuses new requests and waits for the others; how many are cut at the deadline.

    `report` is told how many are left. An engine that does not answer may be busy, so only the
    deadline ends the wait for it; one that ends meanwhile has nothing left.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_seconds
    left = await refuse_new(client)
    while left != 0 and not engine.ended and clock() < deadline:
        report(left or 0)
        await asyncio.sleep(_POLL_SECONDS)
        left = await refuse_new(client)
    return 0 if engine.ended else left or 0


async def stop(engine: Process) -> bool:
    """SIGTERM, a bounded wait, SIGKILL to what is left of the engine's group.

    Whether it ended when it was asked to.
    """
    engine.terminate()
    try:
        await asyncio.wait_for(engine.wait(), STOP_SECONDS)
    except asyncio.TimeoutError:
        _log.warning("the engine lives %g s after SIGTERM; it is killed", STOP_SECONDS)
        return False
    finally:
        await engine.destroy()
    return True


async def refuse_new(client: Client) -> int | None:
    """What is still in flight, None if the engine does not say. Asking twice changes nothing."""
    try:
        reply = await client.post(variables.PATH_DRAIN, {}, _CONTROL_TIMEOUT_SECONDS)
        return _count(reply.json())
    except EngineUnreachable:
        return None


async def admit_again(client: Client) -> bool:
    """Takes a drain back; whether the engine has heard it."""
    try:
        reply = await client.delete(variables.PATH_DRAIN, _CONTROL_TIMEOUT_SECONDS)
        return _draining(reply.json()) is False
    except EngineUnreachable:
        return False


def _draining(load: object) -> object:
    return load.get("draining") if isinstance(load, dict) else None


def _count(load: object) -> int:
    count = load.get("inFlight") if isinstance(load, dict) else None
    if not isinstance(count, int):
        raise EngineUnreachable(f"the engine answered {load!r} about its load")
    return count
