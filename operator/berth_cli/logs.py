"""`berth logs`: the log of one pod's engine, as it is written.

A model of its own has pods; a pool's model has an engine in a pod of several, and its lines there.
"""

import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from berth_api import names
from berth_api.seat import Seat
from berth_cli import access, models
from berth_cli.access import Session
from berth_cli.commands import Logs
from berth_cli.engine_lines import EngineLines
from berth_cli.errors import InputError
from berth_cli.report import printable
from berth_operator.cluster import kinds

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


class _Source(NamedTuple):
    pod: str
    engine: str | None  # whose lines alone are the model's; None: all are


async def logs(command: Logs, environ: Mapping[str, str]) -> None:
    """Raises InputError, and what `Cluster` raises."""
    async with access.session(command.site, environ) as session:
        source = await _chosen(session, command)
        opened = session.api.log(
            session.namespace, source.pod, follow=command.follow, previous=command.previous
        )
        async with opened as pieces, aclosing(_lines(pieces, source.engine)) as lines:
            async for piece in lines:
                _write(piece)


async def _lines(pieces: AsyncIterator[bytes], engine: str | None) -> AsyncGenerator[bytes, None]:
    lines = None if engine is None else EngineLines(engine)
    async for piece in pieces:
        yield piece if lines is None else lines.feed(piece)
    if lines is not None:
        yield lines.end()


async def _chosen(session: Session, command: Logs) -> _Source:
    cr = await models.read(session, command.model)
    own = await _pods(session, f"{names.LABEL_MODEL}={command.model}", names.ROLE_ENGINE)
    seat = await models.seat(session, cr)
    if seat is None:
        return _Source(_of_its_own(command, own), None)
    pooled = await _pods(session, f"{names.LABEL_POOL}={seat.pool}", names.ROLE_POOL)
    return _of_pool(command, seat, pooled, own)


async def _pods(session: Session, whose: str, role: str) -> list[str]:
    """Names, the newest first."""
    labels = f"{whose},{names.LABEL_ROLE}={role}"
    found = await session.api.list_all(kinds.POD, session.namespace, labels=labels)
    return [_name(pod) for pod in models.pods_first(found)]


def _name(pod: Mapping[str, Any]) -> str:
    name: str = pod["metadata"]["name"]
    return name


def _of_its_own(command: Logs, own: Sequence[str]) -> str:
    if command.pod is not None and command.pod not in own:
        raise _not_its_pod(command, own)
    if not own:
        raise InputError(
            f"MODEL {command.model}: it has no pod; `berth why {command.model}` says what it "
            "waits for"
        )
    return command.pod or own[0]


def _of_pool(command: Logs, seat: Seat, pooled: Sequence[str], own: Sequence[str]) -> _Source:
    """Where its engine is, or by `--pod` was; pods of its own are from before the pool has it."""
    if command.pod is not None and command.pod not in (*pooled, *own):
        raise _not_its_pod(command, [*pooled, *own])
    engine = seat.engine
    pod = command.pod or (engine.pod if engine else None) or next(iter(own), None)
    if pod is not None and pod in own:
        return _Source(pod, None)
    if pod is not None and engine is not None:
        return _Source(pod, engine.id)
    raise _nowhere(command, seat, pooled)


def _not_its_pod(command: Logs, pods: Sequence[str]) -> InputError:
    its = ", ".join(pods) or "none"
    return InputError(f"--pod {command.pod}: {command.model}'s pods are {its}; name one")


def _nowhere(command: Logs, seat: Seat, pooled: Sequence[str]) -> InputError:
    """A pool tells where an engine is, and not where it was."""
    said = f"{seat.fault or f'pool {seat.pool} has it loaded nowhere'}; `berth why {command.model}`"
    said += " says what it waits for"
    before = " or ".join(f"--pod {pod}" for pod in pooled)
    if seat.engine is not None and before:
        said += f", and {before} shows what it wrote there before"
    return InputError(f"MODEL {command.model}: {said}")


def _write(piece: bytes) -> None:
    """To a file or a pipe as it came; a terminal is given no controls of strangers."""
    if sys.stdout.isatty():
        text = _COLOURS.sub("", piece.decode(errors="replace"))
        lines = ("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
        sys.stdout.write("\n".join(lines))
    else:
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()
