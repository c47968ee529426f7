"""Bursts of requests with known numbers of tokens, and when each token came back.

Prompts are token numbers, so that every engine computes exactly as many. Within a burst requests
are a few milliseconds apart, which gives them an order that is the same for every engine.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from bench.engine.replica import MODEL

APART_SECONDS = 0.004
REQUEST_SECONDS = 300.0
# Token numbers that every tokenizer has; the first few are special.
_LOWEST_TOKEN, _HIGHEST_TOKEN = 20, 250


@dataclass(frozen=True)
class Request:
    prompt: tuple[int, ...]
    output: int
    shared: int = 0  # leading tokens of the prompt that an earlier request had


@dataclass(frozen=True)
class Outcome:
    """Seconds from the request's start to each event of the stream; none if it failed."""

    events: tuple[float, ...]
    tokens: int = 0

    @property
    def ok(self) -> bool:
        return bool(self.events)

    @property
    def first(self) -> float:
        return self.events[0]

    @property
    def whole(self) -> float:
        return self.events[-1]

    @property
    def gap(self) -> float:
        """Between tokens, on average."""
        return (self.whole - self.first) / max(self.tokens - 1, 1)


def prompt(dice: random.Random, tokens: int) -> tuple[int, ...]:
    return tuple(dice.randint(_LOWEST_TOKEN, _HIGHEST_TOKEN) for _ in range(tokens))


async def burst(url: str, requests: Sequence[Request]) -> list[Outcome]:
    """All of them, started one behind the other; in their order."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
        waiting = (
            _one(session, request, place * APART_SECONDS) for place, request in enumerate(requests)
        )
        return list(await asyncio.gather(*waiting))


async def _one(session: aiohttp.ClientSession, request: Request, delay: float) -> Outcome:
    await asyncio.sleep(delay)
    body = {
        "model": MODEL,
        "prompt": list(request.prompt),
        "max_tokens": request.output,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
    }
    started = time.perf_counter()
    events: list[float] = []
    try:
        async with session.post("/v1/completions", json=body) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    if b'"error"' in line:
                        return Outcome(())
                    events.append(time.perf_counter() - started)
            if response.status != 200:  # noqa: PLR2004
                return Outcome(())
    except (aiohttp.ClientError, TimeoutError):
        return Outcome(())
    return Outcome(tuple(events), request.output)
