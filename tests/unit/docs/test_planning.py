"""docs/planning.md shows what `berth plan` prints, of models whose shapes are what the Job says.

`UPDATE_GOLDEN=1 pytest tests/unit/docs` writes both anew.
"""

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import published
import pytest

from berth_cli import __main__ as cli

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "planning.md"
EXAMPLES = ROOT / "examples" / "plan"
MODELS = sorted(path.name for path in EXAMPLES.iterdir())
OWN = Path(__file__).parent / "checkpoints"
# What the shape Job leaves is a pod's termination message.
MOST_BYTES = 4096

BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.+)$", re.MULTILINE)


def shape_of(model: str) -> dict:
    """By the tensors of its checkpoint."""
    own = OWN / model
    named = str(own) if own.with_name(f"{model}.json").exists() else model
    return published.report(named).model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize("model", MODELS)
def test_an_examples_shape_is_the_golden_one(model):
    path = EXAMPLES / model / "shape.json"
    found = shape_of(model)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == found
    assert len(json.dumps(found, separators=(",", ":"))) <= MOST_BYTES


def test_the_page_shows_the_golden_output(capsys, monkeypatch):
    text = PAGE.read_text(encoding="utf-8")

    def anew(block: re.Match) -> str:
        return "\n\n".join(shown(block[1], capsys, monkeypatch)) + "\n"

    found = BLOCK.sub(anew, text)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(found, encoding="utf-8")
    assert text == found or os.environ.get("UPDATE_GOLDEN")


def test_the_page_has_every_model_on_every_node():
    commands = [found[1] for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]
    for model in MODELS:
        asked = "".join(block for block in commands if f"examples/plan/{model}\n" in block)
        assert set(re.findall(r"--gpu (\S+)", asked)) >= {"80Gi", "48Gi", "24Gi", "39.5Gi"}, model


def test_the_readme_shows_what_the_page_shows():
    (block,) = (b for b in BLOCK.findall((ROOT / "README.md").read_text()) if "berth plan" in b)
    said = [line for line in block.splitlines() if not line.startswith(("$", "…"))]
    assert "\n".join(said) in PAGE.read_text(encoding="utf-8")


def shown(block: str, capsys, monkeypatch) -> Iterator[str]:
    """Each command with its output, in the folder that the block goes to first."""
    for command in COMMAND.findall(block):
        if command.startswith("cd "):
            monkeypatch.chdir(ROOT / command.removeprefix("cd "))
            yield f"$ {command}"
            continue
        words, _, head = command.partition(" | head -n ")
        cli.main(shlex.split(words)[1:])
        lines = capsys.readouterr().out.rstrip("\n").split("\n")
        yield "\n".join([f"$ {command}", *lines[: int(head) if head else None]]).rstrip()
