"""`python -m bench.operator SCENARIO ...`: see bench/README.md, "The operator"."""

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from bench.gateway import usage
from bench.operator import models, subject, twins, world
from bench.operator.client import Client, connect, in_parallel
from bench.operator.subject import Operator
from bench.operator.world import World
from dev import binaries

DONE_SECONDS: Final = 1200.0
# Less than this over QUIET_SECONDS is the rest of a process: the Lease, timers.
QUIET_CORES: Final = 0.03
QUIET_SECONDS: Final = 3.0
QUIET_LOOK_SECONDS: Final = 0.5
LATENCY_MODELS: Final = 120
LATENCY_PAUSE_SECONDS: Final = 0.5
LATENCY_WARM_UP: Final = 5  # models before those that count: the first look loads code
MEASURES_SECONDS: Final = 15.0  # until an engine's measurement has been told, of models that serve
_INSIDE: Final = "BERTH_BENCH_INSIDE"


@dataclass(frozen=True)
class Work:
    models: int
    rest_seconds: float  # for which the operator's rest is measured


@dataclass(frozen=True)
class Scenario:
    play: Callable[[Path, Work], Coroutine[Any, Any, None]]
    pods: bool  # made by KWOK, which has to be built
    twin: bool  # likewise


@asynccontextmanager
async def _stage(folder: Path, *, pods: bool) -> AsyncIterator[tuple[World, Client]]:
    """A cluster with its namespaces, and the user's client of it."""
    async with world.engines():
        with world.running(folder, pods=pods) as cluster:
            async with connect(cluster.plane.kubeconfig) as client:
                await _namespaces(client)
                yield cluster, client


async def bare(folder: Path, work: Work) -> None:
    """API server and etcd alone: creation, rest, restart."""
    async with _stage(folder, pods=False) as (cluster, client):
        with subject.running(cluster.plane.kubeconfig, folder) as operator:
            await _creation(cluster, client, operator.pid, work.models, models.ALL_DEPLOYMENTS)
            _tell(operator, work.models)
            await _rest(operator, work)
        with subject.running(cluster.plane.kubeconfig, folder) as operator:
            await _restart(operator, work)


async def full(folder: Path, work: Work) -> None:
    """Everything that makes pods."""
    async with _stage(folder, pods=True) as (cluster, client):
        with subject.running(cluster.plane.kubeconfig, folder) as operator:
            await _creation(cluster, client, operator.pid, work.models, models.ALL_PODS)
            await asyncio.sleep(MEASURES_SECONDS)
            _tell(operator, work.models)
            await _rest(operator, work)


async def twin(folder: Path, work: Work) -> None:
    """The same as `full`, by the twin."""
    await _by_twin(folder, work.models, pods=True)


async def twin_bare(folder: Path, work: Work) -> None:
    """The same as `bare`, by the twin."""
    await _by_twin(folder, work.models, pods=False)


async def latency(folder: Path, work: Work) -> None:
    """From apply to the pod, two models a second."""
    async with _stage(folder, pods=True) as (cluster, client):
        with subject.running(cluster.plane.kubeconfig, folder):
            await _latencies(client, min(work.models, LATENCY_MODELS))


async def twin_latency(folder: Path, work: Work) -> None:
    """The same as `latency`, by the twin."""
    async with _stage(folder, pods=True) as (cluster, client):
        with twins.running(cluster.plane.kubeconfig, folder):
            await _latencies(client, min(work.models, LATENCY_MODELS))


SCENARIOS: Final[dict[str, Scenario]] = {
    "bare": Scenario(bare, pods=False, twin=False),
    "full": Scenario(full, pods=True, twin=False),
    "twin": Scenario(twin, pods=True, twin=True),
    "twin-bare": Scenario(twin_bare, pods=False, twin=True),
    "latency": Scenario(latency, pods=True, twin=False),
    "twin-latency": Scenario(twin_latency, pods=True, twin=True),
}


async def _by_twin(folder: Path, count: int, *, pods: bool) -> None:
    async with _stage(folder, pods=pods) as (cluster, client):
        with twins.running(cluster.plane.kubeconfig, folder) as pid:
            path = models.ALL_PODS if pods else models.ALL_DEPLOYMENTS
            await _creation(cluster, client, pid, count, path)
            print(f"  resident {_megabytes(pid)} MB")


async def _namespaces(client: Client) -> None:
    for name in (subject.NAMESPACE, models.NAMESPACE):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await client.create("/api/v1/namespaces", body)


async def _create(client: Client, number: int) -> None:
    await client.create(models.PATH, models.body(number))


async def _creation(cluster: World, client: Client, pid: int, count: int, made: str) -> None:
    """Of `count` models, until there are as many of what `made` lists and the operator rests."""
    trees = {**cluster.pids(), "operator": pid}
    before = usage.read(trees)
    began = time.monotonic()
    await in_parallel([partial(_create, client, number) for number in range(count)])
    created = time.monotonic() - began
    while await client.count(made) < count:
        if time.monotonic() - began > DONE_SECONDS:
            raise RuntimeError(f"not all {count} were made within {DONE_SECONDS:.0f} s")
        await asyncio.sleep(0.5)
    there = time.monotonic() - began
    await _quiet(pid)
    spent = usage.between(before, usage.read(trees))
    print(
        f"{count} models: created in {created:.1f} s; {made.rpartition('/')[2]} in {there:.1f} s "
        f"= {count / there:.1f}/s; foreign load {spent.foreign_cores:.2f} cores"
    )
    for name, seconds in spent.trees.items():
        print(f"  {name:24} {seconds:7.1f} CPU s, {1000 * seconds / count:6.2f} ms a model")
    print(f"  operator / API server: {spent.trees['operator'] / spent.trees['kube-apiserver']:.3f}")


async def _quiet(pid: int) -> float:
    """Seconds until the process rests, the time in which that is seen not counted."""
    began = time.monotonic()
    looks = deque([usage.read({"it": pid})])
    while True:
        await asyncio.sleep(QUIET_LOOK_SECONDS)
        looks.append(usage.read({"it": pid}))
        while looks[-1].at - looks[0].at >= QUIET_SECONDS:
            before = looks.popleft()
            if usage.between(before, looks[-1]).cores("it") < QUIET_CORES:
                return before.at - began
        if time.monotonic() - began > DONE_SECONDS:
            raise RuntimeError(f"the operator is not quiet after {DONE_SECONDS:.0f} s")


def _tell(operator: Operator, count: int) -> None:
    writes = sorted(operator.writes().items())
    told = ", ".join(f"{kind} {number / count:.2f}" for kind, number in writes)
    print(f"  writes a model: {told}; resident {_megabytes(operator.pid)} MB")


async def _rest(operator: Operator, work: Work) -> None:
    writes = operator.writes()  # a scrape of all models' metrics, which is not rest
    before = usage.read({"operator": operator.pid})
    await asyncio.sleep(work.rest_seconds)
    spent = usage.between(before, usage.read({"operator": operator.pid}))
    made = sum((operator.writes() - writes).values())
    cores, memory = spent.cores("operator"), _megabytes(operator.pid)
    print(f"{work.models} at rest: {cores:.4f} core, {made} writes, {memory} MB")


async def _restart(operator: Operator, work: Work) -> None:
    """From the start of the process, which is ready and leads already."""
    waited = await _quiet(operator.pid)
    spent = usage.read({"operator": operator.pid}).trees["operator"]
    writes = sum(operator.writes().values())
    started = operator.started_seconds + waited
    print(
        f"{work.models} after a restart: quiet {started:.1f} s after the start of the process, "
        f"{spent:.1f} CPU s, {writes} writes, {_megabytes(operator.pid)} MB"
    )
    await _rest(operator, work)


async def _latencies(client: Client, count: int) -> None:
    began: dict[str, float] = {}
    seen: dict[str, float] = {}

    async def see() -> None:
        async for event in client.watch(models.ALL_PODS, labels="berth.dev/model"):
            model = event["object"]["metadata"]["labels"]["berth.dev/model"]
            seen.setdefault(model, time.monotonic())

    watching = asyncio.create_task(see())
    for number in range(LATENCY_WARM_UP + count):
        if number >= LATENCY_WARM_UP:
            began[models.name(number)] = time.monotonic()
        await _create(client, number)
        await asyncio.sleep(LATENCY_PAUSE_SECONDS)
    await asyncio.sleep(2)
    watching.cancel()
    took = sorted(1000 * (seen[name] - at) for name, at in began.items() if name in seen)
    cuts = statistics.quantiles(took, n=100)
    print(
        f"apply to pod, {len(took)} of {count}: p50 {cuts[49]:.0f} ms, p90 {cuts[89]:.0f}, "
        f"p99 {cuts[98]:.0f}, most {took[-1]:.0f}"
    )


def _megabytes(pid: int) -> str:
    resident, peak = usage.memory_mb(pid)
    return f"{resident:.0f} (peak {peak:.0f})"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.operator", description=__doc__)
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--rest-seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep logs and settings in this folder")
    options = parser.parse_args()
    if _INSIDE not in os.environ:
        _enter([SCENARIOS[name] for name in options.scenarios])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without stopping what was started
    world.enter_network()
    work = Work(options.models, options.rest_seconds)
    for repeat in range(options.repeats):
        for name in options.scenarios:
            with tempfile.TemporaryDirectory(prefix="berth-bench-") as made:
                folder = (options.keep or Path(made)) / f"{name}-{repeat}"
                folder.mkdir(parents=True)
                print(f"== {name}", flush=True)
                asyncio.run(SCENARIOS[name].play(folder, work))
    return 0


def _enter(scenarios: Sequence[Scenario]) -> NoReturn:
    """Again, in a network namespace of its own: KWOK's pods get addresses there."""
    kwok = (binaries.KWOK_MODULE,) if any(one.pods for one in scenarios) else ()
    binaries.build((*binaries.MODULES, *kwok), keep_cache=True)
    if any(one.twin for one in scenarios):
        twins.build()
    again = ["unshare", "--net", sys.executable, "-m", "bench.operator", *sys.argv[1:]]
    os.execvpe(again[0], again, {**os.environ, _INSIDE: "1"})  # noqa: S606 -- no shell is wanted


if __name__ == "__main__":
    sys.exit(main())
