"""Ollama's JSON form of a Modelfile: the body of `/api/create`, as the same commands.

Ollama's own terminal reads the file itself by now and sends its commands as fields; older clients
send the text as `modelfile`. Fields that no command stands for are refused or, where Ollama itself
would leave them out, left out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from berth_api.modelfile import grammar
from berth_api.modelfile.grammar import NO_LINE, Command, Modelfile, ModelfileError

Document = Mapping[str, Any]

_TEXT: Final = "modelfile"
_NO_FILES: Final = (
    "files cannot be sent: the engine serves safetensors from a hub, a registry or a claim; leave "
    'it out and send for example "from": "hf://Qwen/Qwen3-8B"'
)
_AS_THEY_ARE: Final = (
    "weights are served as they are; leave it out, and name a repository whose weights are "
    "quantised already"
)
_NO_DRAFT: Final = "give the engine a draft model with --speculative-config; leave it out"
_REFUSED: Final[Mapping[str, str]] = {
    "files": _NO_FILES,
    "adapters": _NO_FILES,
    "quantize": _AS_THEY_ARE,
    "quantization": _AS_THEY_ARE,
    "draft_files": _NO_DRAFT,
    "draft_quantize": _NO_DRAFT,
    "remote_host": "nothing is sent to another server; leave it out",
    "info": "what a model is comes from its own files; leave it out",
    "capabilities": "what a model can comes from its engine's flags; leave it out",
}


def modelfile(document: Document) -> Modelfile:
    """Raises ModelfileError, without a line unless the document has the file's own text."""
    for field, why in _REFUSED.items():
        if document.get(field):
            raise ModelfileError(NO_LINE, f"{field}: {why}")
    text = document.get(_TEXT)
    if text:
        return grammar.parse(_text(_TEXT, text))
    if not document.get("from"):
        raise ModelfileError(NO_LINE, "neither 'from' or 'files' was specified")
    return Modelfile(tuple(_commands(document)))


def of_model(given: str) -> Modelfile:
    """One that is this model and nothing more."""
    return Modelfile((_command(grammar.FROM, given),))


def made_from(read: Modelfile, name: str) -> Modelfile:
    """The same, with `name` in its first FROM."""
    first = read.named(grammar.FROM)[0]
    return Modelfile(
        tuple(replace(one, value=name) if one is first else one for one in read.commands)
    )


def _commands(document: Document) -> Iterator[Command]:
    for field, read in _FIELDS.items():
        if document.get(field) not in (None, "", [], {}):
            yield from read(field, document[field])


def _command(name: str, value: str, key: str = "") -> Command:
    return Command(NO_LINE, name, key, value)


def _plain(field: str, value: Any) -> Iterator[Command]:
    yield _command(field.upper(), _text(field, value))


def _licences(field: str, value: Any) -> Iterator[Command]:
    for one in value if isinstance(value, list) else [value]:
        yield from _plain(field, one)


def _parameters(field: str, value: Any) -> Iterator[Command]:
    if not isinstance(value, Mapping):
        raise _wrong(field, 'an object, for example {"temperature": 0.7}')
    for key, given in value.items():
        for one in given if isinstance(given, list) else [given]:
            if one is not None:
                yield _command(grammar.PARAMETER, _written(f"{field}.{key}", one), key)


def _written(field: str, value: Any) -> str:
    """As a Modelfile has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else _text(field, value)


def _messages(field: str, value: Any) -> Iterator[Command]:
    for one in value if isinstance(value, list) else [None]:
        if not isinstance(one, Mapping) or one.get("role") not in grammar.ROLES:
            roles = ", ".join(grammar.ROLES)
            raise _wrong(field, f"a list of objects with content and a role, one of {roles}")
        if one.get("images") or one.get("tool_calls"):
            raise _wrong(field, "messages of text, without images and tool calls")
        content = _text(f"{field}.content", one.get("content", ""))
        yield _command(grammar.MESSAGE, content, one["role"])


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(field, "text")
    return value


def _wrong(field: str, wanted: str) -> ModelfileError:
    return ModelfileError(NO_LINE, f"{field} must be {wanted}; mend it, or leave it out")


_FIELDS: Final[Mapping[str, Callable[[str, Any], Iterator[Command]]]] = {
    "from": _plain,
    "parameters": _parameters,
    "template": _plain,
    "system": _plain,
    "license": _licences,
    "messages": _messages,
    "renderer": _plain,
    "parser": _plain,
    "requires": _plain,
}
