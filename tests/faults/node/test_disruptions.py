"""Pods and gateways go, by order or without a word, under streams of ten seconds."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import engine_page
import httpx
import pod_processes
from engine_page import EnginePage
from fault_case import GATEWAY, Case, ends, shown
from fault_traffic import (
    AFTER_SECONDS,
    PROMPTS,
    RUNNING,
    STREAMS,
    TRAFFIC,
    gateways,
    long_streams,
    pace_for,
    short,
    through,
    under_streams,
    until_running,
)

from bench.cluster import zero_drop
from bench.cluster.traffic import End, Result
from bench.cluster.zero_drop import LONG_TOKENS, REPLICAS, Scene
from berth_api import names
from dev.installed import SYSTEM

# From a pod's end, or from the order to end, until no gateway sends it anything.
OUT_OF_ROUTING_SECONDS = 1.0
# Of a drained pod: its streams have ten seconds to go.
GONE_SECONDS = 30.0


def until_gone(page: EnginePage, pod: dict[str, Any], metric: str) -> Iterator[int]:
    """The metric, ten times a second, until the pod's streams have ended and it has."""
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        try:
            yield page.read(pod, metric)
        except httpx.HTTPError:
            return
        time.sleep(0.1)


def test_fault_22_an_engine_that_is_killed_cuts_its_own_streams_only_and_they_are_told(
    scene: Scene, case: Case
) -> None:
    page = engine_page.of(scene.berth, scene.model, scene.namespace)
    victim = scene.pods()[0]
    its: list[int] = []
    killed: list[float] = []

    async def kill() -> None:
        its.append(page.read(victim, RUNNING))
        os.kill(pod_processes.pid(victim, "standins.engine"), signal.SIGKILL)
        killed.append(time.time())

    streams, others = asyncio.run(under_streams(scene, kill))
    assert its[0] > 0
    assert ends(streams) == {End.TOLD: its[0]}, shown(streams)
    assert ends(others) == {}, shown(others)
    late = killed[0] + OUT_OF_ROUTING_SECONDS
    name = victim["metadata"]["name"]
    assert [line for line in case.lines(GATEWAY, since=late) if name in line] == []
    asyncio.run(scene.settle(REPLICAS))


def test_fault_24_a_roll_out_under_long_streams_cuts_and_refuses_none(scene: Scene) -> None:
    """Without room for a surge, which is the harder way."""
    results = asyncio.run(zero_drop.run(scene, TRAFFIC, (zero_drop.roll_out_without_a_spare,)))
    assert sum(one.ask.max_tokens == LONG_TOKENS for one in results) >= 50
    assert ends(results) == {}, shown(results)


def test_fault_25_a_pod_that_is_given_up_leaves_the_routing_and_finishes_its_streams(
    scene: Scene, case: Case
) -> None:
    results = asyncio.run(zero_drop.run(scene, TRAFFIC, (zero_drop.scale_down_and_up,)))
    assert ends(results) == {}, shown(results)
    closed = {
        one.object["metadata"]["uid"]
        for one in case.seen("Pod")
        if names.LABEL_ROUTE not in one.object["metadata"]["labels"]
        and one.object["metadata"]["labels"].get(names.LABEL_MODEL) == scene.model
    }
    gone = {one.object["metadata"]["uid"] for one in case.seen("Pod") if one.type == "DELETED"}
    assert len(closed & gone) == 1


def test_fault_27_a_pod_that_ends_and_is_still_ready_gets_no_new_request(scene: Scene) -> None:
    page = engine_page.of(scene.berth, scene.model, scene.namespace)
    victim = scene.pods()[0]
    name = victim["metadata"]["name"]
    ready: list[str] = []
    counts: list[int] = []

    def watch() -> None:
        time.sleep(OUT_OF_ROUTING_SECONDS)
        counts.append(page.read(victim, PROMPTS))
        pod = scene.berth.get("pod", name, scene.namespace)
        assert "deletionTimestamp" in pod["metadata"]
        ready.extend(c["status"] for c in pod["status"]["conditions"] if c["type"] == "Ready")
        counts.extend(until_gone(page, victim, PROMPTS))

    with ThreadPoolExecutor() as beside:
        watching: list[Future[None]] = []

        async def delete() -> None:
            order = ("delete", "pod", name, "-n", scene.namespace, "--wait=false")
            await asyncio.to_thread(scene.berth.kubectl, *order)
            watching.append(beside.submit(watch))

        streams, others = asyncio.run(under_streams(scene, delete))
        watching[0].result()
    assert ready == ["True"]
    assert len(counts) > 10
    assert set(counts) == {counts[0]}
    assert ends(streams + others) == {}, shown(streams + others)
    asyncio.run(scene.settle(REPLICAS))


def test_fault_36_gateways_that_are_told_to_end_cut_nothing(scene: Scene) -> None:
    results = asyncio.run(zero_drop.run(scene, TRAFFIC, (zero_drop.restart_the_gateway,)))
    assert ends(results) == {}, shown(results)


def test_fault_36_a_gateway_that_is_killed_cuts_its_own_streams_only(scene: Scene) -> None:
    victim, other = gateways(scene.berth)

    async def kill() -> tuple[list[Result], list[Result]]:
        async with (
            through(victim, scene.berth.key) as lost,
            through(other, scene.berth.key) as kept,
        ):
            asks = long_streams(scene.model, STREAMS)
            streams = [asyncio.create_task(lost.send(ask)) for ask in asks[::2]]
            streams += [asyncio.create_task(kept.send(ask)) for ask in asks[1::2]]
            await until_running(scene, STREAMS)
            os.kill(pod_processes.pid(victim, "berth_gateway"), signal.SIGKILL)
            await pace_for(kept, short(scene.model), AFTER_SECONDS)
            await asyncio.gather(*streams)
            return lost.results, kept.results

    lost, kept = asyncio.run(kill())
    assert ends(lost) == {End.TOLD: STREAMS // 2}, shown(lost)
    assert ends(kept) == {}, shown(kept)
    scene.berth.kubectl(
        *("wait", "pod", victim["metadata"]["name"], "-n", SYSTEM),
        *("--for=condition=Ready", "--timeout=60s"),
    )
