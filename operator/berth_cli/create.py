"""`berth create`: a Modelfile as a ModelDeployment, printed or applied."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from berth_api import names
from berth_api.modelfile import grammar, translation
from berth_api.modelfile.grammar import Modelfile, ModelfileError
from berth_cli import access, model_file
from berth_cli.access import Session
from berth_cli.commands import JSON, Create
from berth_cli.documents import STANDARD_INPUT
from berth_cli.errors import InputError
from berth_cli.report import printable
from berth_operator.cluster import kinds
from berth_operator.errors import NotFound

_YAML_WIDTH: Final = 100


async def create(command: Create, environ: Mapping[str, str]) -> str:
    """What is to be printed. Raises InputError, and what `Cluster` raises."""
    read = _read(command.file)
    if command.dry_run and translation.base_name(read) is None:
        return shown(_model(command, read, None), command.output)
    async with access.session(command.site, environ) as session:
        model = _model(command, read, await _base(session, read))
        if command.dry_run:
            return shown(model, command.output)
        return await _apply(session, model, command.output)


def _read(path: Path) -> Modelfile:
    try:
        raw = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
        return grammar.parse(grammar.decode(raw))
    except OSError as error:
        raise InputError(f"-f {path}: {error}; name a file that can be read") from error
    except ModelfileError as error:
        raise InputError(f"-f {path}: {error}") from error


async def _base(session: Session, read: Modelfile) -> Mapping[str, Any] | None:
    """The ModelDeployment that FROM names."""
    name = translation.base_name(read)
    return None if name is None else await _stored(session, name)


async def _stored(session: Session, name: str) -> Mapping[str, Any] | None:
    try:
        return await session.api.get(kinds.MODEL, session.namespace, name)
    except NotFound:
        return None


def _model(command: Create, read: Modelfile, base: Mapping[str, Any] | None) -> dict[str, Any]:
    found = translation.translate(read, command.name, base)
    _tell(command, found.remarks)
    if found.model is None:
        raise InputError("\n".join(f"-f {command.file}: {one}" for one in found.problems))
    problems = [f"-f {command.file}: {one}" for one in model_file.problems(found.model)]
    if problems:
        raise InputError("\n".join(problems))
    return found.model


def _tell(command: Create, remarks: tuple[str, ...]) -> None:
    for remark in remarks:
        print(printable(f"berth create: -f {command.file}: {remark}"), file=sys.stderr)


def shown(model: Mapping[str, Any], output: str | None) -> str:
    if output == JSON:
        return json.dumps(model, indent=2)
    return yaml.dump(
        model, Dumper=_Dumper, sort_keys=False, width=_YAML_WIDTH, allow_unicode=True
    ).rstrip()


class _Dumper(yaml.SafeDumper):
    """A text of several lines stays one that a person can read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


async def _apply(session: Session, model: dict[str, Any], output: str | None) -> str:
    """As kubectl tells it; with `output` the object as it is stored."""
    name = model["metadata"]["name"]
    before = await _stored(session, name)
    placed = model | {"metadata": {"name": name, "namespace": session.namespace}}
    stored = await session.api.submit(placed)
    if output is not None:
        return shown(stored, output)
    return f"{names.SINGULAR}.{names.GROUP}/{name} {_done(before, stored)}"


def _done(before: Mapping[str, Any] | None, stored: Mapping[str, Any]) -> str:
    if before is None:
        return "created"
    same = before["metadata"]["generation"] == stored["metadata"]["generation"]
    return "unchanged" if same else "configured"
