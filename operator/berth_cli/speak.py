"""The commands that speak to a cluster: read, ask the pure parts, print or write.

What `Command` says is done here; how it is decided and how it looks is said in a module for each.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Final

from berth_api import names
from berth_cli import (
    access,
    chat,
    conversation,
    create,
    gateway,
    logs,
    models,
    pools,
    ps,
    residency,
    why,
)
from berth_cli.access import Session
from berth_cli.commands import (
    JSON,
    WIDE,
    Command,
    Create,
    Load,
    Logs,
    Pools,
    Ps,
    Run,
    Unload,
    Why,
)
from berth_cli.conversation import StatusLine
from berth_cli.errors import Refused
from berth_cli.models import Known
from berth_cli.report import Screen, printable
from berth_cli.residency import Act, Nothing, Pin, Release, Scale, Wake
from berth_operator.cluster import kinds
from berth_operator.errors import BerthError

Environ = Mapping[str, str]
Show = Callable[[str], None]

EXIT_NO: Final = 1
_DONE: Final[Mapping[type, str]] = {
    Scale: "Scaled",
    Wake: "Woken",
    Pin: "Loaded",
    Release: "Unloaded",
    Nothing: "Nothing",
}


def speak(command: Command, environ: Environ, screen: Screen, show: Show) -> int:
    """The exit code. Raises TerminalError, KeyboardInterrupt."""
    try:
        match command:
            case Run():
                chat.run(command, environ)
                return 0
            case Logs():
                asyncio.run(logs.logs(command, environ))
                return 0
            case Create():
                show(asyncio.run(create.create(command, environ)))
                return 0
            case _:
                text, code = asyncio.run(_answer(command, environ, screen))
                show(text)
                return code
    except BerthError as error:
        raise access.told(error) from error


async def _answer(
    command: Ps | Pools | Why | Load | Unload, environ: Environ, screen: Screen
) -> tuple[str, int]:
    async with access.session(command.site, environ) as session:
        match command:
            case Ps():
                return await _ps(command, session), 0
            case Pools():
                return await _pools(command, session), 0
            case Why():
                return await _why(command, session, screen)
            case Load():
                known = await models.known(session, command.model)
                act = residency.load(known, command.keep_alive)
            case Unload():
                known = await models.known(session, command.model)
                act = residency.unload(known)
        said = await _act(session, known, act, command, environ)
        return (_as_json(known, act, said) if command.output == JSON else said), 0


async def _ps(command: Ps, session: Session) -> str:
    found, unknown = await models.every(session, None if command.everywhere else session.namespace)
    if unknown:
        print(printable(f"berth ps: {unknown}"), file=sys.stderr)
    if command.output == JSON:
        return ps.as_json(found)
    return ps.as_text(found, namespaces=command.everywhere, wide=command.output == WIDE)


async def _pools(command: Pools, session: Session) -> str:
    found = await models.pools(session, None if command.everywhere else session.namespace)
    if command.output == JSON:
        return pools.as_json(found)
    return pools.as_text(found, namespaces=command.everywhere)


async def _why(command: Why, session: Session, screen: Screen) -> tuple[str, int]:
    known = await models.known(session, command.model)
    pods = await session.api.list_all(
        kinds.POD, session.namespace, labels=f"{names.LABEL_MODEL}={command.model}"
    )
    found = why.reason(known, models.pods_first(pods))
    text = why.as_json(found) if command.output == JSON else why.as_text(found, screen)
    return text, 0 if found.serves else EXIT_NO


async def _act(
    session: Session, known: Known, act: Act, command: Load | Unload, environ: Environ
) -> str:
    """Does it, and says what was done. Raises Refused, and what `Cluster` raises."""
    match act:
        case Nothing(text=text):
            return text
        case Scale(replicas=replicas):
            await session.api.scale(known.namespace, known.name, replicas)
            return f"{known.name}: spec.replicas is {replicas} now"
        case Wake(keep_alive=keep_alive) if isinstance(command, Load):
            return await _wake(session, known, keep_alive, command, environ)
        case Pin(keep_alive=keep_alive) if isinstance(command, Load):
            await _note(session, known, names.ANNOTATION_LOAD)
            return await _wake(session, known, keep_alive, command, environ)
        case Release():
            await _note(session, known, names.ANNOTATION_UNLOAD)
            return f"{known.name} leaves pool {known.spec.pool} once its requests are answered"
        case residency.Denied(text=text):
            raise Refused(text)
    raise AssertionError(act)


async def _note(session: Session, known: Known, annotation: str) -> None:
    """Now, on the object; of two such notes the later one counts."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    at = now.replace("+00:00", "Z")
    await session.api.annotate(known.namespace, known.name, annotation, at)


async def _wake(
    session: Session, known: Known, keep_alive: str | None, command: Load, environ: Environ
) -> str:
    said = f"{known.name} is loaded"
    if keep_alive is not None:
        await session.api.set_keep_alive(known.namespace, known.name, keep_alive)
        said += f"; spec.keepAlive is {keep_alive} now"
    look = chat.looking(session, known.name)
    async with (
        gateway.reached(command.way, session, environ) as found,
        conversation.watched(StatusLine(), look),
    ):
        await found.wake(f"{known.name}.{known.namespace}")
    return said


def _as_json(known: Known, act: Act, said: str) -> str:
    replicas = act.replicas if isinstance(act, Scale) else None
    return json.dumps(
        {
            "namespace": known.namespace,
            "name": known.name,
            "done": _DONE[type(act)],
            "replicas": replicas,
            "message": said,
        },
        indent=2,
    )
