"""Hit rate and time to first token with two real vLLM replicas, by routing policy.

    BERTH_ENGINE_PYTHON=.../bin/python python3 -m bench.prefix [--rounds 3]

One replica per core, each with a KV cache for two thirds of what the conversations come to: they
fit two caches and not one. Policies take turns, forwards and backwards, each with empty caches and
the same conversations in a round, through the gateway's own process.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import aiohttp

from bench.engine import replica
from bench.engine.replica import Flags, Replica
from bench.prefix import conversations, gateway, model, play, policies, results
from bench.prefix.conversations import BLOCK_TOKENS, Workload
from bench.prefix.results import Round

REPLICAS = 2
_SEED = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--opening", action="store_true", help="all first messages begin alike")
    options = parser.parse_args()
    # Its cache can be emptied between rounds.
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model.write(Path(folder))
        replicas = [
            stack.enter_context(replica.vllm(replica.engine_python(), Path(folder), flags(), core))
            for core in range(REPLICAS)
        ]
        found = asyncio.run(_rounds(replicas, options.rounds, opening=options.opening))
    print(f"load average at the end: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print(results.table(found))
    print(f"an endless cache: {conversations.highest_hit_rate(BLOCK_TOKENS):.1%} hits")
    return 0


def flags() -> Flags:
    size = conversations.cache_blocks() * BLOCK_TOKENS * model.KV_TOKEN_BYTES
    return Flags(max_model_len=2048, max_num_seqs=32, kv_cache_bytes=size)


async def _rounds(
    replicas: Sequence[Replica], count: int, *, opening: bool
) -> dict[str, list[Round]]:
    names = list(policies.POLICIES)
    found: dict[str, list[Round]] = {name: [] for name in names}
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=play.REQUEST_SECONDS),
        connector=aiohttp.TCPConnector(limit=0),
    ) as session:
        await _warm(session, replicas)
        for number in range(count):
            workload = conversations.workload(_SEED + number, opening=opening)
            for name in names if number % 2 == 0 else reversed(names):
                with gateway.running(name, [one.url for one in replicas]) as url:
                    found[name].append(await _round(session, replicas, workload, url))
                print(f"round {number + 1}: {name}: {found[name][-1]}", file=sys.stderr, flush=True)
            print(results.table(found), file=sys.stderr, flush=True)
    return found


async def _warm(session: aiohttp.ClientSession, replicas: Sequence[Replica]) -> None:
    """The first request of all is slower."""
    warm = conversations.workload(0, opening=False).conversations[0]
    for one in replicas:
        await play.stream(session, one.url, play.body(warm, 0, []))


async def _round(
    session: aiohttp.ClientSession, replicas: Sequence[Replica], workload: Workload, url: str
) -> Round:
    """Once through the conversations by way of the gateway at `url`, with empty caches."""
    for one in replicas:
        async with session.post(one.url + "/reset_prefix_cache") as response:
            response.raise_for_status()
    before = results.cache(await _pages(session, replicas))
    started = time.perf_counter()
    turns = await play.play(workload, partial(play.stream, session, url))
    seconds = time.perf_counter() - started
    after = results.cache(await _pages(session, replicas))
    caches = tuple(b.since(a) for a, b in zip(before, after, strict=True))
    return Round(tuple(turns), caches, seconds)


async def _pages(session: aiohttp.ClientSession, replicas: Sequence[Replica]) -> list[str]:
    pages = []
    for one in replicas:
        async with session.get(one.url + "/metrics") as response:
            pages.append(await response.text())
    return pages


if __name__ == "__main__":
    sys.exit(main())
