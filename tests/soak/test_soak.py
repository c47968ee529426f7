"""Half an hour of what a month brings, on the real node: nothing grows, nothing is unexplained.

Two gateways, one operator and the stand-in engine under traffic, while models are rolled out, scaled,
killed, made and removed, and while clients leave in the middle of a stream. Too long for every
change: `make soak`.
"""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp
import pod_processes
import pytest
from fault_case import Case
from fault_traffic import TRAFFIC, gateways

from bench.cluster import zero_drop
from bench.cluster.traffic import Ask, Result, table
from bench.cluster.watching import Log
from bench.cluster.zero_drop import Disturbance, Scene
from bench.gateway import usage
from dev import standin
from dev.installed import SYSTEM

SECONDS = float(os.environ.get("BERTH_SOAK_SECONDS") or 1800)
SAMPLE_SECONDS = 5.0
# The first third fills caches and pools. Between the medians of the other two, ten minutes apart:
MOST_GROWTH_MB = 4.0  # of some 70 to 130; a leak of one kB a request would be ten
MOST_MORE_FILES = 10  # of some hundred connections, which come and go with the traffic
LEAVERS_PER_SECOND = 2.0
PASSING, PASSING_SECONDS = "passing", 120.0


@dataclass
class Watched:
    """A process, and what it had at each look."""

    name: str
    pid: int
    megabytes: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self) -> None:
        """FileNotFoundError if it has ended: nothing here may end it."""
        process = Path(f"/proc/{self.pid}")
        self.megabytes.append(usage.parse_status((process / "status").read_text(), "VmRSS"))
        self.files.append(len(list((process / "fd").iterdir())))

    def row(self) -> str:
        megabytes = " | ".join(f"{median(part):.1f}" for part in thirds(self.megabytes))
        files = " | ".join(f"{median(part):.0f}" for part in thirds(self.files))
        return f"| {self.name} | {megabytes} | {max(self.megabytes):.1f} | {files} |"


def thirds(values: Sequence[float]) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
    third = len(values) // 3
    return values[:third], values[third : 2 * third], values[2 * third :]


def growth(values: Sequence[float]) -> float:
    _, earlier, later = thirds(values)
    return median(later) - median(earlier)


@pytest.fixture
def case(scene: Scene, log: Log) -> Iterator[Case]:
    case = Case(scene.berth, scene.namespace, log)
    yield case
    case.assert_invariants()


def test_nothing_grows_and_nothing_is_unexplained(scene: Scene, case: Case) -> None:
    watched = [
        *(Watched("the operator", pid) for pid in _pids(scene, "operator")),
        *(Watched(f"gateway {n}", pid) for n, pid in enumerate(_pids(scene, "gateway"))),
    ]
    results = asyncio.run(soak(scene, watched))
    print("", table(results), "", *rows(watched), sep="\n")
    assert zero_drop.failures(results, scene.kills) == []
    for one in watched:
        assert growth(one.megabytes) < MOST_GROWTH_MB, one.row()
        assert growth(one.files) < MOST_MORE_FILES, one.row()


def _pids(scene: Scene, component: str) -> list[int]:
    selector = f"app.kubernetes.io/component={component}"
    pods = (
        gateways(scene.berth)
        if component == "gateway"
        else scene.berth.all("pods", SYSTEM, selector)
    )
    return [pod_processes.pid(pod, f"berth_{component}") for pod in pods]


def rows(watched: Sequence[Watched]) -> Iterator[str]:
    yield "| process | MB, first third | second | last | most | files | | |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    yield from (one.row() for one in watched)


async def soak(scene: Scene, watched: Sequence[Watched]) -> list[Result]:
    beside = [asyncio.create_task(look_for_ever(watched)), asyncio.create_task(leave(scene))]
    try:
        return await zero_drop.run(scene, TRAFFIC, in_turn(SECONDS))
    finally:
        over = [task for task in beside if task.done()]
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        for task in over:  # before the soak was
            task.result()


def in_turn(seconds: float) -> Iterator[Disturbance]:
    until = time.monotonic() + seconds
    turns = (zero_drop.roll_out, zero_drop.scale_down_and_up, come_and_go, zero_drop.kill_a_pod)
    for disturb in itertools.cycle(turns):
        if time.monotonic() >= until:
            return
        yield disturb


async def come_and_go(scene: Scene) -> None:
    """A model that is made, asked and removed."""
    body = standin.model(
        scene.namespace, PASSING, "hf://berth/tiny", resources={"memory": standin.LEAST_MEMORY}
    )
    await asyncio.to_thread(scene.berth.apply, body)
    await asyncio.to_thread(
        scene.berth.wait,
        PASSING,
        lambda status: status.get("phase") == "Serving",
        seconds=PASSING_SECONDS,
        namespace=scene.namespace,
    )
    where = f"--namespace={scene.namespace}"
    await asyncio.to_thread(scene.berth.kubectl, "delete", "mdep", PASSING, where, "--wait")


async def look_for_ever(watched: Sequence[Watched]) -> None:
    while True:
        for one in watched:
            one.look()
        await asyncio.sleep(SAMPLE_SECONDS)


async def leave(scene: Scene) -> None:
    """Clients that close their connection once a stream has begun."""
    ask = Ask(scene.model, "I shall not stay.", zero_drop.LONG_TOKENS, stream=True)
    headers = {"Authorization": f"Bearer {scene.berth.key}"}
    url = f"{scene.berth.url}/v1/chat/completions"
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):  # its pod was killed before it left
                async with session.post(url, json=ask.body()) as response:
                    await response.content.readany()
                    response.close()
            await asyncio.sleep(1 / LEAVERS_PER_SECOND)
