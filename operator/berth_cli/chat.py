"""`berth run`: one answer, or a chat of many turns. Ctrl-C ends an answer and not the chat."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from berth_api.status import Status
from berth_cli import access, conversation, gateway, models
from berth_cli.access import Session
from berth_cli.answers import Message
from berth_cli.commands import Run
from berth_cli.conversation import Heard, Look
from berth_cli.errors import InputError, TerminalError
from berth_cli.gateway import Gateway
from berth_cli.report import printable

PROMPT: Final = ">>> "
_MORE: Final = "... "
_QUOTES: Final = '"""'  # a message of several lines is within them, as in Ollama
_HELP: Final = '/bye leaves, /clear forgets what was said, """ begins and ends several lines'
_HOW_TO_LEAVE: Final = "\n/bye leaves"


@dataclass
class Chat:
    gateway: Gateway
    model: str
    look: Look | None
    verbose: bool
    messages: list[Message] = field(default_factory=list)

    def ask(self, runner: asyncio.Runner, text: str) -> None:
        """Prints the answer. Raises Refused, InputError and, once it is broken off, Ctrl-C."""
        asked: Message = {"role": "user", "content": text}
        heard = Heard(time.monotonic())
        try:
            runner.run(
                conversation.ask(
                    self.gateway, self.model, [*self.messages, asked], heard, self.look
                )
            )
        finally:
            runner.run(self.gateway.settled())
            if heard.text:
                print(flush=True)
                answer = {"role": "assistant", "content": "".join(heard.text)}
                self.messages += [asked, answer]
        if self.verbose:
            print(conversation.figures(heard), file=sys.stderr)


def run(command: Run, environ: Mapping[str, str]) -> None:
    """Raises TerminalError, and Ctrl-C where no chat is left to go on with."""
    prompt = _given(command.prompt)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            chat = runner.run(stack.enter_async_context(_chat(command, environ)))
            if prompt is not None:
                chat.ask(runner, prompt)
            else:
                _turns(runner, chat)
        finally:
            runner.run(stack.aclose())


@asynccontextmanager
async def _chat(command: Run, environ: Mapping[str, str]) -> AsyncIterator[Chat]:
    if command.way.url is not None:
        async with gateway.reached(command.way, None, environ) as found:
            yield Chat(found, command.model, None, command.verbose)
        return
    async with access.session(command.site, environ) as session:
        await models.read(session, command.model)
        async with gateway.reached(command.way, session, environ) as found:
            name = f"{command.model}.{session.namespace}"
            yield Chat(found, name, looking(session, command.model), command.verbose)


def looking(session: Session, name: str) -> Look:
    async def look() -> Status:
        return Status.model_validate((await models.read(session, name)).get("status") or {})

    return look


def _given(prompt: str | None) -> str | None:
    """With standard input behind it, unless that is a terminal; None: a chat is meant.

    Raises InputError where neither says anything.
    """
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    parts = [part for part in (prompt, piped) if part]
    if parts:
        return "\n\n".join(parts)
    if sys.stdin is not None and sys.stdin.isatty():
        return None
    raise InputError("PROMPT: none is given, and standard input is empty; write one")


def _turns(runner: asyncio.Runner, chat: Chat) -> None:
    """Until /bye or the end of input."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 -- makes `input` know its history, where there is one
    while True:
        try:
            text = _message()
        except EOFError:
            return
        except KeyboardInterrupt:
            print(_HOW_TO_LEAVE)
            continue
        if text == "/bye":
            return
        _turn(runner, chat, text)


def _turn(runner: asyncio.Runner, chat: Chat, text: str) -> None:
    if text == "/clear":
        chat.messages.clear()
    elif text.startswith("/"):
        print(_HELP)
    elif text:
        try:
            chat.ask(runner, text)
        except KeyboardInterrupt:
            return  # of the answer
        except TerminalError as error:
            print(printable(str(error)), file=sys.stderr)


def _message() -> str:
    """A line, or the lines between quotes. Raises EOFError, KeyboardInterrupt."""
    text = input(PROMPT).strip()
    if not text.startswith(_QUOTES):
        return text
    text = text.removeprefix(_QUOTES)
    while not text.rstrip().endswith(_QUOTES):
        text += "\n" + input(_MORE)
    return text.rstrip().removesuffix(_QUOTES)
