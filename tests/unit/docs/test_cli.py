"""docs/cli.md shows what the commands print, and says what they take.

`UPDATE_GOLDEN=1 pytest tests/unit/docs` writes it anew.
"""

import io
import os
import re
import shlex
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import terminal_world as world
from fakes.terminal import OpenAI

from berth_cli import __main__ as cli
from berth_cli import access, arguments, commands

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "cli.md"
BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
LOG = [b"INFO 01-02 03:04:05 model runner: loading weights took 12.4 seconds\n"]


@pytest.fixture
def shown(monkeypatch, capfd) -> Callable[[str], str]:
    """What a command prints, on both streams, in a world of its own."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    def run(command: str) -> str:
        cluster, server = world.cluster(), OpenAI()
        cluster.logged["llama-70b-5c6d-x"] = LOG

        @asynccontextmanager
        async def session(site, environ):
            async with server.running(), cluster.session(site, environ) as found:
                cluster.gateway = server
                yield found

        monkeypatch.setattr(access, "session", session)
        words, _, head = command.partition(" | head -n ")
        cli.main(shlex.split(words)[1:])
        said = capfd.readouterr()
        lines = (said.err + said.out).rstrip("\n").split("\n")
        return "\n".join(lines[: int(head) if head else None])

    return run


def test_the_page_shows_what_is_printed(shown) -> None:
    text = PAGE.read_text(encoding="utf-8")

    def anew(block: re.Match[str]) -> str:
        command = block[1].split("\n")[0]
        return f"{command}\n{shown(command.removeprefix('$ '))}\n"

    found = BLOCK.sub(anew, text)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(found, encoding="utf-8")
        return
    assert text == found


def test_every_command_is_shown() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = {block.split()[2] for block in BLOCK.findall(text)}
    assert shown >= set(commands._VERBS) - {"load"}
    assert all(f"`berth {verb}`" in text for verb in commands._VERBS)


def test_every_example_is_a_command_line() -> None:
    for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        words = shlex.split(block.split("\n")[0].partition(" | ")[0])
        assert arguments.parse(words[2:])
