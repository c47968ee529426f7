"""What a Modelfile says as a ModelDeployment, as far as it can be said. Pure.

Nothing is dropped in silence: a command becomes a part of the spec, a refusal or a remark.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from berth_api import names
from berth_api.modelfile import grammar, parameters, sources
from berth_api.modelfile.grammar import Command, Modelfile
from berth_api.modelfile.said import Part, Problem, Remark, Said
from berth_api.spec import (
    MAX_MESSAGE_CHARACTERS,
    MAX_MESSAGES,
    MAX_STOPS,
    MAX_SYSTEM_CHARACTERS,
    SERVED_NAME,
)

Object = Mapping[str, Any]
Path = tuple[str, ...]

SYSTEM: Final = ("defaults", "system")
MESSAGES: Final = ("defaults", "messages")
# Lists that a Modelfile gives anew or leaves as its base has them.
_REPLACED: Final = (MESSAGES, parameters.STOP)
# What makes an engine, and what places it: of a base, these are taken over word for word. Names,
# scaling and the queue stay each model's own.
_ENGINE: Final = (
    *(("model", field) for field in ("source", "authSecretRef", "cache")),
    *((field,) for field in ("runtime", "accelerators", "parallelism", "memory", "resources")),
    *((field,) for field in ("podTemplate", "adapters", "pool", "defaults")),
)
_MOST_NAME_CHARACTERS: Final = 255  # of spec.model.name
_DIGEST_CHARACTERS: Final = 8  # two of a namespace's names share them once in four thousand million


@dataclass(frozen=True)
class Translation:
    """`model` is None where there are problems. All but those of the name tell their line."""

    model: dict[str, Any] | None
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def translate(read: Modelfile, name: str, found: Object | None = None) -> Translation:
    """`found` is the ModelDeployment that `base_name` names, if there is one."""
    base = found if found is not None and answers_to(found, read.origin) else None
    said = [(command, _said(command, base)) for command in read.commands]
    problems = (
        *(_at(command, one.text) for command, one in said if isinstance(one, Problem)),
        *_too_many(read),
        *_of_name(name),
    )
    remarks = [_at(command, one.text) for command, one in said if isinstance(one, Remark)]
    if problems:
        return Translation(None, problems, tuple(remarks))
    parts = _adapted(one for _, one in said if isinstance(one, Part))
    return Translation(_model(name, parts, base), (), (*remarks, *_of_engine(read, parts, base)))


def _adapted(parts: Iterable[Part]) -> list[Part]:
    """With what makes an adapter part of the model, as it is in Ollama."""
    given = list(parts)
    named = (one.value[0]["name"] for one in given if one.path == sources.ADAPTERS)
    return [*given, *(Part(sources.DEFAULT_ADAPTER, name) for name in named)]


def base_name(read: Modelfile) -> str | None:
    """The ModelDeployment that FROM may name; None where it can only be something else."""
    given = read.origin
    plain = object_name(given)
    return plain if _is_name(plain) and "/" not in given else None


def object_name(name: str) -> str:
    """A name that a ModelDeployment can have: `Qwen2.5:7b` is qwen2-5-7b.

    One that is too long ends in a digest of it, for long names often differ in their ends alone.
    """
    given = name.removesuffix(":latest")
    plain = re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-")
    if len(plain) <= names.MAX_NAME_LENGTH:
        return plain
    digest = hashlib.sha256(given.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    beginning = plain[: names.MAX_NAME_LENGTH - len(digest) - 1].rstrip("-")
    return f"{beginning}-{digest}"


def _from(read: Modelfile) -> Command:
    return read.named(grammar.FROM)[0]


def answers_to(model: Object, given: str) -> bool:
    known = model["spec"]["model"]
    its = {model["metadata"]["name"], known.get("name"), *known.get("aliases", ())}
    return bool(its & {given, given.removesuffix(":latest")})


def _is_name(text: str) -> bool:
    fits = len(text) <= names.MAX_NAME_LENGTH
    return fits and re.fullmatch(names.NAME_PATTERN, text) is not None


def _at(command: Command, text: str) -> str:
    return grammar.at(command.line, text)


def _said(command: Command, base: Object | None) -> Said:
    if command.name == grammar.FROM and base is not None:
        return None
    return _COMMANDS[command.name](command)


def _system(command: Command) -> Said:
    return _too_long(command, MAX_SYSTEM_CHARACTERS) or Part(SYSTEM, command.value)


def _message(command: Command) -> Said:
    message = {"role": command.key, "content": command.value}
    return _too_long(command, MAX_MESSAGE_CHARACTERS) or Part(MESSAGES, [message])


def _too_long(command: Command, most: int) -> Problem | None:
    count = len(command.value)
    if count <= most:
        return None
    return Problem(f"{command.name} has {count} characters, and at most {most} fit; shorten it")


def _requires(command: Command) -> Said:
    said = f"REQUIRES {command.value}"
    if not _VERSION.fullmatch(command.value):
        return Problem(f"{said} is no version; write for example REQUIRES 0.14.0")
    return Remark(f"{said} is a version of Ollama, and no part of it runs here")


_VERSION: Final = re.compile(r"v?[0-9]+(\.[0-9]+){0,2}([-+][0-9A-Za-z.+-]+)?")


def _refusing(text: str) -> Callable[[Command], Said]:
    return lambda command: Problem(f"{command.name} {text}")


def _remarking(text: str) -> Callable[[Command], Said]:
    return lambda command: Remark(f"{command.name} {text}")


_COMMANDS: Final[Mapping[str, Callable[[Command], Said]]] = {
    grammar.FROM: lambda command: sources.of_model(command.value),
    grammar.PARAMETER: lambda command: parameters.of(command.key, command.value),
    grammar.MESSAGE: _message,
    "SYSTEM": _system,
    grammar.ADAPTER: lambda command: sources.of_adapter(command.value),
    "REQUIRES": _requires,
    # Only the model's tokenizer could say whether it is its own, and that is Jinja.
    "TEMPLATE": _refusing(
        "is a template of Go, and the engine's are Jinja: it uses the one that comes with the "
        "model, and whether this one says the same cannot be told; remove the command where it "
        "is the model's usual template, else give the engine a Jinja one with --chat-template in "
        "spec.runtime.extraArgs"
    ),
    "DRAFT": _refusing(
        "names a GGUF file; remove it, or give the engine a draft model with --speculative-config "
        "in spec.runtime.extraArgs"
    ),
    "LICENSE": _remarking("stays with the model's files: a ModelDeployment has no field for it"),
    "RENDERER": _remarking("is Ollama's own code: the engine uses the model's chat template"),
    "PARSER": _remarking(
        "is Ollama's own code: the engine's are --tool-call-parser and --reasoning-parser in "
        "spec.runtime.extraArgs"
    ),
}


def _too_many(read: Modelfile) -> Iterator[str]:
    stops = [one for one in read.named(grammar.PARAMETER) if one.key == "stop"]
    for found, most, what in (
        (read.named(grammar.FROM), 1, "FROM"),
        (read.named(grammar.MESSAGE), MAX_MESSAGES, "MESSAGE"),
        (stops, MAX_STOPS, "PARAMETER stop"),
        (read.named(grammar.ADAPTER), 1, "ADAPTER"),
    ):
        if len(found) > most:
            said = f"{what} is there {len(found)} times, and at most {most} may be; remove some"
            yield _at(found[most], said)


def _of_name(name: str) -> Iterator[str]:
    if not re.search(SERVED_NAME, name) or len(name) > _MOST_NAME_CHARACTERS:
        yield (
            f"the name {name!r} must be at most {_MOST_NAME_CHARACTERS} letters, digits and "
            ". _ : / @ -, and begin and end with a letter or digit; give another"
        )
    elif not _is_name(object_name(name)):
        yield f"the name {name!r} must begin with a letter; give another"


def _of_engine(read: Modelfile, parts: Iterable[Part], base: Object | None) -> Iterator[str]:
    """What a model that is made of another one should know of that one's engine."""
    if base is None:
        return
    name, line = base["metadata"]["name"], _from(read)
    context = base["spec"].get("runtime", {}).get("maxModelLen", "auto")
    asked = next((one.value for one in parts if one.path == parameters.CONTEXT), context)
    if asked != context:
        yield _at(line, f"num_ctx {asked} is not {name}'s maxModelLen, {context}: another engine")
        return
    if read.named(grammar.ADAPTER):
        yield _at(line, f"{name} has not this adapter: another engine")
        return
    pool = base["spec"].get("pool")
    where = f"pool {pool} loads it once for both" if pool else "it runs in pods of its own"
    yield _at(line, f"its engine is {name}'s, word for word; {where}")


def _model(name: str, parts: Iterable[Part], base: Object | None) -> dict[str, Any]:
    plain = object_name(name)
    spec = _inherited(base, {part.path for part in parts})
    for part in parts:
        spec = _with(spec, part.path, part.value)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": plain},
        "spec": spec if plain == name else _with(spec, ("model", "name"), name),
    }


def _inherited(base: Object | None, given: set[Path]) -> dict[str, Any]:
    """Of the base, what makes its engine; not the lists that the Modelfile gives anew."""
    spec: dict[str, Any] = {}
    for path in _ENGINE if base is not None else ():
        found = _find(base or {}, ("spec", *path))
        spec = spec if found is None else _with(spec, path, found)
    for path in _REPLACED:
        spec = _without(spec, path) if path in given else spec
    return spec


def _find(value: Any, path: Path) -> Any:
    for field in path:
        value = value.get(field) if isinstance(value, Mapping) else None
    return value


def _with(spec: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    field, *rest = path
    before = spec.get(field)
    if rest:
        value = _with(before or {}, tuple(rest), value)
    elif isinstance(before, list):
        value = [*before, *value]
    return {**spec, field: value}


def _without(spec: Mapping[str, Any], path: Path) -> dict[str, Any]:
    field, *rest = path
    if field not in spec:
        return dict(spec)
    if rest:
        return {**spec, field: _without(spec[field], tuple(rest))}
    return {name: value for name, value in spec.items() if name != field}
