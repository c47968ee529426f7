"""Clients that know what a whole answer is, and say of each request how it ended.

A stream that stops without `[DONE]` and without an error event is the worst of all ends: the
client takes it for an answer. It is told apart from one that failed openly.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Self

import aiohttp

# Above what any request of a measurement may take: held, queued and streamed.
REQUEST_SECONDS = 900.0
_DONE = b"data: [DONE]"
_ERROR = b'data: {"error"'


class End(Enum):
    """How a request ended, best first."""

    WHOLE = "whole"
    REFUSED = "refused before the first byte"
    UNREACHABLE = "no answer at all"
    TOLD = "cut, and told so"
    DIFFERENT = "whole, with other bytes than expected"
    TRUNCATED = "cut in silence"


@dataclass(frozen=True)
class Ask:
    """One chat completion. Equal asks must have equal answers."""

    model: str
    prompt: str
    max_tokens: int
    stream: bool

    def body(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": self.prompt}],
            "max_tokens": self.max_tokens,
            "temperature": 0,
            "stream": self.stream,
            "ignore_eos": True,
        }


@dataclass(frozen=True)
class Result:
    """Times are seconds: `at` since the run began, the others since the request was sent."""

    ask: Ask
    end: End
    at: float
    first_byte: float | None
    total: float
    held: float = 0.0
    retry_after: float | None = None
    detail: str = ""
    digest: str = ""


@dataclass
class Answers:
    """What each ask was answered first: later answers must be the same bytes."""

    by_ask: dict[Ask, str] = field(default_factory=dict)

    def same(self, ask: Ask, digest: str) -> bool:
        return self.by_ask.setdefault(ask, digest) == digest


class Clients:
    """Sends asks at their times over pooled connections. It never tries one twice."""

    def __init__(self, url: str, key: str, *, compare_text: bool = False) -> None:
        """`compare_text`: only the words must be equal, for engines that number their answers."""
        self._url = f"{url}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._compare_text = compare_text
        self._answers = Answers()
        self.started = time.monotonic()  # what Result.at counts from
        self.results: list[Result] = []
        self.under_way = 0

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=10)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, ask: Ask) -> Result:
        self.under_way += 1
        try:
            result = await self._send(ask)
        finally:
            self.under_way -= 1
        self.results.append(result)
        return result

    async def pace(self, asks: Sequence[Ask], per_second: float, stop: asyncio.Event) -> None:
        """Asks in turn, evenly spaced, until `stop`; returns when all have ended."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            number = 0
            while not stop.is_set():
                group.create_task(self.send(asks[number % len(asks)]))
                number += 1
                due = began + number / per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _send(self, ask: Ask) -> Result:
        began = time.monotonic()
        body = bytearray()
        first: float | None = None
        held = 0.0
        retry: float | None = None

        def ended(end: End, detail: str = "", digest: str = "") -> Result:
            total = time.monotonic() - began
            at = began - self.started
            return Result(ask, end, at, first, total, held, retry, detail, digest)

        try:
            async with self._session.post(
                self._url, json=ask.body(), headers=self._headers
            ) as response:
                held = float(response.headers.get("x-berth-held-seconds", 0))
                retry = _seconds(response.headers.get("retry-after"))
                async for chunk in response.content.iter_any():
                    if first is None and not chunk.startswith(b":"):
                        first = time.monotonic() - began
                    body += chunk
                if response.status != HTTPStatus.OK:
                    return ended(End.REFUSED, f"{response.status} {body[:200]!r}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            end = End.UNREACHABLE if first is None else End.TOLD
            return ended(end, repr(error))
        end = judged(ask, bytes(body))
        digest = self._digest(ask, bytes(body))
        if end is End.WHOLE and not self._answers.same(ask, digest):
            return ended(End.DIFFERENT, digest=digest)
        return ended(end, "" if end is End.WHOLE else repr(bytes(body[-200:])), digest)

    def _digest(self, ask: Ask, body: bytes) -> str:
        kept = text_of(ask, body).encode() if self._compare_text else without_comments(body)
        return hashlib.sha256(kept).hexdigest()


def _seconds(header: str | None) -> float | None:
    return None if header is None else float(header)


def judged(ask: Ask, body: bytes) -> End:
    """Of an answer with status 200 that ended in order, as HTTP has it."""
    if not ask.stream:
        try:
            return End.WHOLE if "choices" in json.loads(body) else End.TRUNCATED
        except ValueError:
            return End.TRUNCATED
    if _ERROR in body:
        return End.TOLD
    return End.WHOLE if body.rstrip().endswith(_DONE) else End.TRUNCATED


def without_comments(body: bytes) -> bytes:
    """A held stream begins with comments of the gateway, which no client shows."""
    events = body.split(b"\n\n")
    return b"\n\n".join(event for event in events if not event.startswith(b":"))


def text_of(ask: Ask, body: bytes) -> str:
    """The words of an answer, without ids and times."""
    if not ask.stream:
        try:
            return str(json.loads(body)["choices"][0]["message"]["content"])
        except (ValueError, LookupError):
            return ""
    return "".join(_words(line) for line in body.split(b"\n") if line.startswith(b"data: {"))


def _words(line: bytes) -> str:
    choices = json.loads(line.removeprefix(b"data: ")).get("choices") or []
    return "".join(choice.get("delta", {}).get("content") or "" for choice in choices)


def table(results: Sequence[Result]) -> str:
    """How requests ended: streams beside the others, in a markdown table."""
    lines = ["| end | streams | others | share |", "|---|---:|---:|---:|"]
    counts = Counter((result.end, result.ask.stream) for result in results)
    for end in End:
        streams, others = counts[end, True], counts[end, False]
        share = 100 * (streams + others) / max(1, len(results))
        lines.append(f"| {end.value} | {streams} | {others} | {share:.2f} % |")
    return "\n".join(lines)
