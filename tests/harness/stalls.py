"""Engines that stand still while other tests run: it takes two minutes until one is ended.

Two models of the stand-in: one engine of `hung` never steps again, the one of `busy` stands still
for a while, as in a very long step, and goes on.
"""

import asyncio
import os
import signal
import time
from dataclasses import dataclass

import engine_page
import pod_processes
from fault_traffic import FIRST_BYTES_SECONDS, RUNNING, engine_pods, long_streams, short, until

from bench.cluster.traffic import Clients, Result
from bench.cluster.zero_drop import TOKENS_PER_SECOND, Scene
from dev import standin

HUNG, BUSY = "hung", "busy"
REPLICAS = {HUNG: 2, BUSY: 1}
# Above every time-out around an engine but the one for stalls.
BUSY_SECONDS = 60
STREAMS = 4
LATER = 4
SERVING_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    victim: str  # the pod of `hung` whose engine was frozen
    frozen_at: float  # Unix time
    cut: int  # streams that ran on it then
    streams: list[Result]  # of `hung`, on either pod, when the engine froze
    later: list[Result]  # of `hung`, sent afterwards
    busy: list[Result]


def stand(scene: Scene) -> None:
    """Both models, serving."""
    pace = {"STANDIN_TOKENS_PER_SECOND": TOKENS_PER_SECOND}
    knobs = {HUNG: pace, BUSY: pace | {"STANDIN_FREEZE_SECONDS": str(BUSY_SECONDS)}}
    for name, replicas in REPLICAS.items():
        scene.berth.apply(
            standin.model(
                *(scene.namespace, name, "hf://berth/tiny", knobs[name]),
                replicas=replicas,
                resources={"memory": standin.LEAST_MEMORY},
            )
        )
    for name, replicas in REPLICAS.items():
        scene.berth.wait(
            name,
            lambda status, all_=replicas: status.get("readyReplicas") == all_,
            seconds=SERVING_SECONDS,
            namespace=scene.namespace,
        )


def remove(scene: Scene) -> None:
    scene.berth.kubectl("delete", "mdep", HUNG, BUSY, "-n", scene.namespace, "--wait")


async def freeze(scene: Scene) -> Outcome:
    """Returns when everything that was asked has ended."""
    page = engine_page.of(scene.berth, HUNG, scene.namespace)
    (victim, _), (busy,) = engine_pods(scene, HUNG), engine_pods(scene, BUSY)

    def running() -> int:
        return sum(page.read(pod, RUNNING) for pod in engine_pods(scene, HUNG))

    async with Clients(scene.berth.url, scene.berth.key) as clients:
        asks = long_streams(HUNG, STREAMS)
        streams = [asyncio.create_task(clients.send(ask)) for ask in asks]
        await until("every stream runs", lambda: running() == STREAMS)
        await asyncio.sleep(FIRST_BYTES_SECONDS)
        cut = page.read(victim, RUNNING)
        for pod in (victim, busy):
            os.kill(pod_processes.pid(pod, "standins.engine"), signal.SIGUSR1)
        frozen_at = time.time()
        later = [asyncio.create_task(clients.send(ask)) for ask in short(HUNG, LATER)]
        slow = [asyncio.create_task(clients.send(ask)) for ask in short(BUSY, 1)]
        ended = [await asyncio.gather(*group) for group in (streams, later, slow)]
    return Outcome(victim["metadata"]["name"], frozen_at, cut, *ended)
