"""Streams that run while a fault happens, and short requests after it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import engine_page

from bench.cluster.traffic import Ask, Clients, Result
from bench.cluster.zero_drop import LONG_TOKENS, SHORT_TOKENS, Plan, Scene
from berth_api import names
from dev.installed import SYSTEM, Berth

RUNNING = "vllm:num_requests_running"
PROMPTS = "vllm:prompt_tokens_total"
# For as long as a disturbance lasts; a third of it are streams of ten seconds.
TRAFFIC = Plan(requests=0, per_second=15.0, long_tokens=LONG_TOKENS, compare_text=False)
STREAMS = 12
SHORT_PER_SECOND = 15.0
# Ejections last longer, so what is sent in this time shows whether one works.
AFTER_SECONDS = 6.0
_BEGUN_SECONDS = 20.0
FIRST_BYTES_SECONDS = 0.5
_POLL_SECONDS = 0.1


def long_streams(model: str, count: int) -> list[Ask]:
    return [Ask(model, f"Count on from {n}.", LONG_TOKENS, stream=True) for n in range(count)]


def short(model: str, count: int = 40) -> list[Ask]:
    return [Ask(model, f"Say {n}.", SHORT_TOKENS, stream=bool(n % 2)) for n in range(count)]


async def until(what: str, true: Callable[[], bool], seconds: float = _BEGUN_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(true):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(_POLL_SECONDS)


async def pace_for(clients: Clients, asks: Sequence[Ask], seconds: float) -> None:
    """The asks in turn, for so long; returns when all have ended."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await clients.pace(asks, SHORT_PER_SECOND, stop)


async def under_streams(
    scene: Scene, act: Callable[[], Awaitable[None]]
) -> tuple[list[Result], list[Result]]:
    """How they ended: long streams that all run when `act` begins, short requests after it."""
    async with Clients(scene.berth.url, scene.berth.key) as clients:
        streams = [
            asyncio.create_task(clients.send(ask)) for ask in long_streams(scene.model, STREAMS)
        ]
        await until_running(scene, STREAMS)
        await act()
        await pace_for(clients, short(scene.model), AFTER_SECONDS)
        long_ones = await asyncio.gather(*streams)
    return long_ones, [one for one in clients.results if one not in long_ones]


async def until_running(scene: Scene, count: int) -> None:
    """And have their first bytes: before these the gateway would ask another pod."""
    page = engine_page.of(scene.berth, scene.model, scene.namespace)

    def run() -> bool:
        return sum(page.read(pod, RUNNING) for pod in scene.pods()) == count

    await until(f"{count} streams run", run)
    await asyncio.sleep(FIRST_BYTES_SECONDS)


def engine_pods(scene: Scene, model: str) -> list[dict[str, Any]]:
    selector = f"{names.LABEL_MODEL}={model},{names.LABEL_ROLE}={names.ROLE_ENGINE}"
    return scene.berth.all("pods", scene.namespace, selector)


def gateways(berth: Berth) -> list[dict[str, Any]]:
    found = berth.all("pods", SYSTEM, "app.kubernetes.io/component=gateway")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def through(gateway: dict[str, Any], key: str) -> Clients:
    """Of one gateway and no other."""
    return Clients(f"http://{gateway['status']['podIP']}:{names.PORT_GATEWAY}", key)
