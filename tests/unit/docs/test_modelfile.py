"""docs/modelfile.md's tables are those of the code."""

import re
from pathlib import Path

import fields

from berth_api.modelfile import grammar, parameters, translation
from berth_api.spec import Spec
from berth_cli import model_file

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "modelfile.md").read_text(encoding="utf-8")


def rows(header):
    """The cells of the table that begins with `header`."""
    table = PAGE.partition(f"| {header}")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()[2:]
    ]


def test_every_command_has_a_row():
    named = re.findall(r"`([A-Z]+)`", " ".join(row[0] for row in rows("command |")))
    assert sorted(named) == sorted(grammar.COMMANDS)


def test_every_parameter_that_is_served_has_its_field():
    found = {row[0].strip("`| "): row[1].strip("`") for row in rows("parameter | becomes")}
    assert found == {name: ".".join(one.path) for name, one in parameters.SERVED.items()}


def test_every_parameter_that_is_not_served_has_its_reason():
    found = {row[0].strip("`| "): (row[1], row[2].rstrip(" |")) for row in rows("parameter | |")}
    assert found == {
        name: ("refused" if one.fix else "told", one.why)
        for name, one in parameters.UNSERVED.items()
    }


def test_every_field_that_is_named_exists():
    assert list(fields.missing(fields.named(PAGE), Spec)) == []


def test_the_example_is_a_valid_model():
    text = (ROOT / "examples" / "modelfile" / "Modelfile").read_text(encoding="utf-8")
    found = translation.translate(grammar.parse(text), "mario")
    assert found.problems == ()
    assert list(model_file.problems(found.model)) == []
