"""One question and its answer, printed as it comes; and until then how far the model is."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from berth_api.status import Status
from berth_cli import answers
from berth_cli.answers import Message, Piece, Usage, Waiting
from berth_cli.errors import TerminalError
from berth_cli.gateway import Gateway
from berth_cli.report import printable
from berth_operator.errors import BerthError

LOOK_SECONDS: Final = 1.0  # a person sees no more, and the API server answers others too
_CLEAR: Final = "\r\x1b[K"
_DIM: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[0m"

Look = Callable[[], Awaitable[Status]]


@dataclass
class Heard:
    """Of an answer so far: also of one that was broken off."""

    asked_at: float
    text: list[str] = field(default_factory=list)
    first_at: float | None = None
    last_at: float | None = None
    usage: Usage | None = None

    def add(self, piece: Piece, now: float) -> None:
        self.text.append(piece.text)
        self.first_at = now if self.first_at is None else self.first_at
        self.last_at = now


class StatusLine:
    """The last line of a terminal, written over and over; elsewhere nothing."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._shown = False

    def show(self, text: str) -> None:
        if self._on:
            sys.stderr.write(f"{_CLEAR}{printable(text)}")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._shown = False


async def ask(
    gateway: Gateway, model: str, messages: Sequence[Message], heard: Heard, look: Look | None
) -> None:
    """Into `heard`, and on the screen. Raises Refused, InputError."""
    line = StatusLine()
    async with (
        watched(line, look) as watching,
        aclosing(gateway.stream(answers.chat(model, messages))) as events,
    ):
        async for event in events:
            if isinstance(event, Waiting) and look is None:
                line.show(event.text)
            elif isinstance(event, Piece) and (event.text or event.thought):
                watching.cancel()
                line.clear()
                heard.add(event, time.monotonic())
                _print(event)
            elif isinstance(event, Usage):
                heard.usage = event


@contextlib.asynccontextmanager
async def watched(line: StatusLine, look: Look | None) -> AsyncIterator[asyncio.Task[None]]:
    """`line` says how far the model is, until the end or until the task is cancelled."""
    watching = asyncio.create_task(watch(line, look))
    try:
        yield watching
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        line.clear()


async def watch(line: StatusLine, look: Look | None) -> None:
    """Until cancelled, or until it cannot be looked at: the answer does not depend on it."""
    with contextlib.suppress(BerthError, TerminalError):
        while look is not None:
            line.show(progress(await look()))
            await asyncio.sleep(LOOK_SECONDS)


def progress(status: Status) -> str:
    """How far a model is, in the operator's words; nothing once it serves."""
    if status.ready_replicas:
        return ""
    told = " ".join(part for part in (status.phase, status.progress) if part)
    left = status.load.eta_seconds if status.load else None
    return f"{told}, about {left} s left" if left is not None else told


def figures(heard: Heard) -> str:
    """Tokens of the answer and their rate: without the first, which the prompt took."""
    if heard.usage is None or heard.first_at is None or heard.last_at is None:
        return "tokens: not told"
    count, seconds = heard.usage.completion_tokens, heard.last_at - heard.first_at
    rate = f"{(count - 1) / seconds:.1f} tokens/s" if seconds > 0 and count > 1 else "no rate"
    return (
        f"{count} tokens, {rate}, the first after {heard.first_at - heard.asked_at:.2f} s; "
        f"a prompt of {heard.usage.prompt_tokens}"
    )


def _print(piece: Piece) -> None:
    """On a terminal what it would act upon is escaped; elsewhere the answer is as it came."""
    on_screen = sys.stdout.isatty()
    if piece.thought and on_screen:
        sys.stdout.write(f"{_DIM}{_shown(piece.thought)}{_PLAIN}")
    sys.stdout.write(_shown(piece.text) if on_screen else piece.text)
    sys.stdout.flush()


def _shown(text: str) -> str:
    return "\t".join(printable(part) for part in text.split("\t"))
