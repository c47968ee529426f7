"""Models take turns in a pool while operators and gateways are killed: nobody is lost or starved.

Everything is a process: two operators, two gateways, two pods with a card each, whose engines are
stand-ins that refuse to start, as vLLM does, where a card has not their share free. Eight models
want room that five have. A request on a gateway that is killed is its client's to repeat; every
other is answered whole.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from kubelet import every
from operator_site import Site, assert_none, wait_for
from pool_outcome import Kill, Outcome, Through
from pool_scene import Scene
from pool_site import PoolSite, pool_site
from pool_watch import Watch

from bench.cluster.traffic import Ask, Clients, End

LONG = bool(os.environ.get("BERTH_LONG_FAULTS"))
SWAPS = 500 if LONG else 60
KILLS = 20 if LONG else 4  # each of the four in turn
SWAPS_WITHIN_SECONDS = 1500.0 if LONG else 240.0
CLIENTS = 4  # of each gateway, one request each at a time
MIN_RESIDENCY_SECONDS = 1
STARVATION_SECONDS = 5
# Of the bound in docs/design/0020: the longest request with the stop of its engine, and a load, on
# a machine that others use too.
REQUEST_SECONDS = 2.0
LOAD_SECONDS = 3.0
# No swap happens while nobody leads: a Lease, a start, and the gateways' first words.
TAKEOVER_SECONDS = 30.0
WATCH_SECONDS = 0.25
RETRY_SECONDS = 0.2
REST_SECONDS = 30.0
SHARES = {f"small-{number}": "0.3" for number in range(6)} | {"large-0": "0.45", "large-1": "0.45"}
BOUND_SECONDS = (
    TAKEOVER_SECONDS
    + STARVATION_SECONDS
    + len(SHARES) * (REQUEST_SECONDS + LOAD_SECONDS + MIN_RESIDENCY_SECONDS)
    + REQUEST_SECONDS
    + LOAD_SECONDS
)
SCENE = Scene(
    shares=SHARES,
    min_residency_seconds=MIN_RESIDENCY_SECONDS,
    starvation_seconds=STARVATION_SECONDS,
    max_wait_seconds=round(2 * BOUND_SECONDS),
    engine={"STANDIN_LOAD_SECONDS": "0.2", "STANDIN_TOKENS_PER_SECOND": "200"},
)


@pytest.fixture
def pool(site: Site, tmp_path: Path) -> Iterator[PoolSite]:
    folder = tmp_path / "pool"
    folder.mkdir()
    with pool_site(site, SCENE, folder) as found:
        yield found


def test_swaps_while_operators_and_gateways_are_killed_lose_and_starve_nobody(
    pool: PoolSite,
) -> None:
    watch, began = Watch(pool.kubelet), time.monotonic()
    with every(WATCH_SECONDS, watch.look, "watch"):
        outcome = asyncio.run(play(pool, random.Random(20)))
    print(f"{pool.swaps()} swaps in {time.monotonic() - began:.0f} s; {outcome}; {watch}")
    assert pool.swaps() >= SWAPS
    assert_none("requests lost", outcome.lost())
    assert_none("wrong looks at pods", watch.wrong)
    assert pool.refused() == 0, "the card was too full for a start"
    assert outcome.waits()[-1] < BOUND_SECONDS
    pool.site.wait_for_rest()
    wait_for("a pool that is as it says", lambda: not pool.differences(), seconds=REST_SECONDS)
    assert_none("alarms of gateways and pods", pool.alarms())


async def play(pool: PoolSite, chance: random.Random) -> Outcome:
    """Returns when so many models have been swapped, and everything that was asked has ended."""
    stop, key, began = asyncio.Event(), pool.key(), time.monotonic()
    async with (
        Clients(_url(pool, 0), key, compare_text=True) as first,
        Clients(_url(pool, 1), key, compare_text=True) as second,
        asyncio.TaskGroup() as group,
    ):
        for clients in (first, second) * CLIENTS:
            group.create_task(_ask(clients, random.Random(chance.random()), stop))
        try:
            kills = await _kill(pool, chance)
            await _swapped(pool, SWAPS, began)
        finally:
            stop.set()
    asked = zip(pool.gateways, (first, second), strict=True)
    through = [Through(one.name, clients.started, clients.results) for one, clients in asked]
    return Outcome(through, kills)


def _url(pool: PoolSite, number: int) -> str:
    return pool.gateways[number].process.url.removesuffix("/v1")


async def _ask(clients: Clients, chance: random.Random, stop: asyncio.Event) -> None:
    """One request after the other, each until it was answered."""
    while not stop.is_set():
        model, words = chance.choice(list(SHARES)), chance.randint(1, 40)
        ask = Ask(model, f"Count to {words}.", words, stream=chance.random() < 0.7)
        result = await clients.send(ask)
        while result.end is not End.WHOLE:
            await asyncio.sleep(RETRY_SECONDS)
            result = await clients.send(ask)


async def _swapped(pool: PoolSite, count: int, began: float) -> None:
    while await asyncio.to_thread(pool.swaps) < count:
        assert time.monotonic() - began < SWAPS_WITHIN_SECONDS, f"only {pool.swaps()} swaps"
        await asyncio.sleep(RETRY_SECONDS)


async def _kill(pool: PoolSite, chance: random.Random) -> list[Kill]:
    """One at a time, spread over the swaps, each of the four as often as the others."""
    began = time.monotonic()
    kills: list[Kill] = []
    for name in victims(chance, KILLS):
        await _swapped(pool, SWAPS * len(kills) // KILLS + 1, began)
        await asyncio.sleep(chance.uniform(0, 1))
        at = time.monotonic()
        await asyncio.to_thread(_kill_and_start, pool, name)
        kills.append(Kill(name, at, time.monotonic()))
    return kills


def victims(chance: random.Random, count: int) -> Sequence[str]:
    found: list[str] = []
    while len(found) < count:
        found += chance.sample(["leader", "standby", "gateway-0", "gateway-1"], 4)
    return found[:count]


def _kill_and_start(pool: PoolSite, name: str) -> None:
    gateway = next((one for one in pool.gateways if one.name == name), None)
    if gateway is not None:
        gateway.kill_and_start()
        return
    leader = pool.site.leader()
    leads = [one for one in pool.operators if one is leader]
    others = [one for one in pool.operators if one is not leader]
    victim = (leads or others)[0] if name == "leader" else others[0]
    victim.kill()
    victim.start().wait_until_ready()
