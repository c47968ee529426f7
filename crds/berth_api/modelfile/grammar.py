"""A Modelfile's commands as values, and values as text again; what they mean is said elsewhere.

The grammar is that of Ollama's own parser (parser/parser.go of 0.17): a command is a word at the
beginning of a line in any case; a value ends with its line, or with the line that ends in the
quotes it began with; '#' begins a comment only where a command could begin; characters that cannot
be printed are dropped. Two things are told apart from it: several spaces after PARAMETER and
MESSAGE are one, and a line of Windows is one line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FROM: Final = "FROM"
PARAMETER: Final = "PARAMETER"
MESSAGE: Final = "MESSAGE"
ADAPTER: Final = "ADAPTER"
COMMANDS: Final = (
    *(FROM, PARAMETER, "TEMPLATE", "SYSTEM", ADAPTER, "LICENSE", MESSAGE, "REQUIRES"),
    *("RENDERER", "PARSER", "DRAFT"),
)
ROLES: Final = ("system", "user", "assistant")
# Licences are the longest part of real ones, some tens of thousands; and an object that Kubernetes
# stores has 1.5 MiB at most.
MOST_CHARACTERS: Final = 1024 * 1024

_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_WORD: Final = re.compile(r"[A-Za-z]+")
_PARAMETER_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
_SPACES: Final = " \t"
_BLANK: Final = " \t\r\n"
_AFTER_WORDS: Final = ("", *_BLANK)
_BYTE_ORDER_MARK: Final = "\ufeff"
_QUOTES: Final = ('"""', '"')  # the longer first
_SHOWN_CHARACTERS: Final = 40


NO_LINE: Final = 0  # of a command that a program gave as a field, and nobody wrote in a file


class ModelfileError(ValueError):
    """What is wrong, with its line and the fix."""

    def __init__(self, line: int, said: str) -> None:
        super().__init__(at(line, said))
        self.line = line


@dataclass(frozen=True)
class Command:
    """`key` is PARAMETER's name and MESSAGE's role, and else empty."""

    line: int  # or NO_LINE
    name: str  # one of COMMANDS
    key: str
    value: str


@dataclass(frozen=True)
class Modelfile:
    commands: tuple[Command, ...]  # in the file's order; one at least is FROM

    @property
    def origin(self) -> str:
        """What FROM names; the first where there are several."""
        return self.named(FROM)[0].value

    def named(self, name: str) -> tuple[Command, ...]:
        return tuple(one for one in self.commands if one.name == name)


@dataclass(frozen=True)
class _Line:
    number: int
    text: str  # with its end, and what can be printed of it


def at(line: int, said: str) -> str:
    return said if line == NO_LINE else f"line {line}: {said}"


def decode(raw: bytes) -> str:
    """UTF-8, or UTF-16 with its mark, as Windows' editors write it. ModelfileError for others."""
    marked = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return raw.decode("utf-16" if marked else "utf-8").removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = 1 + raw.count(b"\n", 0, error.start)
        raise ModelfileError(line, f"{error.reason}; save the file as UTF-8") from error


def parse(text: str) -> Modelfile:
    """Raises ModelfileError."""
    if len(text) > MOST_CHARACTERS:
        said = f"the file has {len(text)} characters, and at most {MOST_CHARACTERS} are read"
        raise ModelfileError(1, f"{said}; shorten its LICENSE")
    commands = tuple(_commands(_lines(text)))
    if not any(one.name == FROM for one in commands):
        last = 1 + text.count("\n")
        raise ModelfileError(last, "there is no FROM; add for example FROM hf://Qwen/Qwen3-8B")
    return Modelfile(commands)


def write(modelfile: Modelfile) -> str:
    """A text that `parse` reads as the same commands, but for their lines."""
    return "".join(f"{_written(one)}\n" for one in modelfile.commands)


def _written(command: Command) -> str:
    key = f"{command.key} " if command.key else ""
    return f"{command.name} {key}{_quoted(command.value)}"


def _quoted(value: str) -> str:
    plain = value and value == value.strip(_BLANK) and not re.search(r'^"|[\r\n]', value)
    return value if plain else f'"""{value}"""'


def _lines(text: str) -> Iterator[_Line]:
    for number, found in enumerate(_LINE.finditer(text), start=1):
        yield _Line(number, _printable(found[0]))


def _commands(lines: Iterator[_Line]) -> Iterator[Command]:
    for line in lines:
        text = line.text.lstrip(_BLANK)
        if text and not text.startswith("#"):
            yield _command(line.number, text, lines)


def _command(number: int, text: str, following: Iterator[_Line]) -> Command:
    name, rest = _name(number, text)
    key = ""
    if name in (PARAMETER, MESSAGE):
        key, rest = _key(number, name, rest)
    return Command(number, name, key, _value(number, name, rest, following))


def _name(number: int, text: str) -> tuple[str, str]:
    """The command and what follows its space."""
    word, space, rest = _cut(text, _WORD)
    if word.upper() not in COMMANDS:
        said = f"{_shown(text.split(maxsplit=1)[0])} begins no command"
        raise ModelfileError(number, f"{said}; begin the line with one of {', '.join(COMMANDS)}")
    if not space:
        raise ModelfileError(number, f"{word} has no value; write it behind the word and a space")
    return word.upper(), rest


def _cut(text: str, beginning: re.Pattern[str]) -> tuple[str, str, str]:
    """What it begins with up to its first space, that space, and the rest; else nothing."""
    found = beginning.match(text)
    word = found[0] if found else ""
    space, rest = text[len(word) : len(word) + 1], text[len(word) + 1 :]
    return (word, space.strip("\r\n"), rest) if space in _AFTER_WORDS else ("", "", text)


def _key(number: int, name: str, rest: str) -> tuple[str, str]:
    """PARAMETER's name or MESSAGE's role, and what follows its space."""
    text = rest.lstrip(_SPACES)
    key, space, after = _cut(text, _PARAMETER_NAME)
    if not space or (name == MESSAGE and key not in ROLES):
        given = _shown(text.split(maxsplit=1)[0]) if text.strip() else "nothing"
        alone = " alone" if key and not space else ""
        raise ModelfileError(number, f"{name} is followed by {given}{alone}; {_KEY_FIXES[name]}")
    return key, after


_KEY_FIXES: Final = {
    PARAMETER: "write for example PARAMETER temperature 0.7",
    MESSAGE: f"write MESSAGE and one of {', '.join(ROLES)}, for example MESSAGE user Hello",
}


def _value(number: int, name: str, rest: str, following: Iterator[_Line]) -> str:
    """The rest of the line; what begins with quotes goes on until a line ends with them."""
    begin = rest.strip(_BLANK)
    quotes = next((one for one in _QUOTES if begin.startswith(one)), None)
    if quotes is None:
        return begin
    if len(begin) >= 2 * len(quotes) and begin.endswith(quotes):
        return begin[len(quotes) : -len(quotes)]
    parts = [rest.lstrip(_BLANK)]
    for line in following:
        parts.append(line.text)
        if parts[-1].rstrip(_BLANK).endswith(quotes):
            return "".join(parts).rstrip(_BLANK)[len(quotes) : -len(quotes)]
    raise ModelfileError(
        number, f"{name}'s {quotes} has no end; end the last line of its value with {quotes}"
    )


def _printable(text: str) -> str:
    return "".join(one for one in text if one.isprintable() or one in _BLANK)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")
