"""`berth logs`: the log of one pod's engine, as it is written."""

import re
import sys
from collections.abc import Mapping
from typing import Any, Final

from berth_api import names
from berth_cli import access, models
from berth_cli.access import Session
from berth_cli.commands import Logs
from berth_cli.errors import InputError
from berth_cli.report import printable
from berth_operator.cluster import kinds

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


async def logs(command: Logs, environ: Mapping[str, str]) -> None:
    """Raises InputError, and what `Cluster` raises."""
    async with access.session(command.site, environ) as session:
        pod = await _chosen(session, command)
        opened = session.api.log(
            session.namespace, pod, follow=command.follow, previous=command.previous
        )
        async with opened as pieces:
            async for piece in pieces:
                _write(piece)


async def engines(session: Session, model: str) -> list[Mapping[str, Any]]:
    """A model's runtime pods, the newest first."""
    labels = f"{names.LABEL_MODEL}={model},{names.LABEL_ROLE}={names.ROLE_ENGINE}"
    found = await session.api.list_all(kinds.POD, session.namespace, labels=labels)
    return models.pods_first(found)


async def _chosen(session: Session, command: Logs) -> str:
    await models.read(session, command.model)
    found = [pod["metadata"]["name"] for pod in await engines(session, command.model)]
    if command.pod is not None and command.pod not in found:
        its = ", ".join(found) or "none"
        raise InputError(f"--pod {command.pod}: {command.model}'s pods are {its}; name one")
    if not found:
        raise InputError(
            f"MODEL {command.model}: it has no pod; `berth why {command.model}` says what it "
            "waits for"
        )
    return command.pod or found[0]


def _write(piece: bytes) -> None:
    """To a file or a pipe as it came; a terminal is given no controls of strangers."""
    if sys.stdout.isatty():
        text = _COLOURS.sub("", piece.decode(errors="replace"))
        lines = ("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
        sys.stdout.write("\n".join(lines))
    else:
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()
