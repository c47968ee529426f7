"""Users who hold conversations, each waiting for an answer before the next question."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from bench.engine.replica import MODEL
from bench.prefix.conversations import ANSWER_TOKENS, Conversation, Workload

REQUEST_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Turn:
    """One answer. Seconds from the question; None if it failed."""

    number: int
    first: float | None
    whole: float = 0.0
    text: str = ""


Ask = Callable[[dict[str, Any]], Awaitable[Turn]]


async def play(workload: Workload, ask: Ask) -> list[Turn]:
    """Every turn of every conversation, all users at once."""
    played = await asyncio.gather(*(_user(one, ask) for one in workload.conversations))
    return [turn for turns in played for turn in turns]


async def _user(conversation: Conversation, ask: Ask) -> list[Turn]:
    turns: list[Turn] = []
    answers: list[str] = []
    for number, pause in enumerate(conversation.pauses):
        await asyncio.sleep(pause)
        turn = await ask(body(conversation, number, answers))
        turns.append(Turn(number, turn.first, turn.whole, turn.text))
        answers.append(turn.text)
    return turns


def body(conversation: Conversation, number: int, answers: Sequence[str]) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": conversation.messages(number, answers),
        "max_tokens": ANSWER_TOKENS,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
    }


async def stream(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Turn:
    """One chat completion; a stream that does not end with [DONE] has failed."""
    started = time.perf_counter()
    first: float | None = None
    pieces: list[str] = []
    ended = False
    try:
        async with session.post(url + "/v1/chat/completions", json=body) as response:
            async for line in response.content:
                if not line.startswith(b"data: "):
                    continue
                first = first or time.perf_counter() - started
                ended = line.startswith(b"data: [DONE]")
                pieces.append("" if ended else _text(line))
    except (aiohttp.ClientError, TimeoutError, KeyError):
        ended = False
    whole = time.perf_counter() - started
    return Turn(0, first if ended else None, whole, "".join(pieces))


def _text(line: bytes) -> str:
    """KeyError for an error event."""
    choices = json.loads(line.removeprefix(b"data: "))["choices"]
    return (choices[0]["delta"].get("content") or "") if choices else ""
