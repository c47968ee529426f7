"""docs/reliability.md promises nothing without a test, and no case of the fault suite is left out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
NOT_RUN = "not run: "
FAULTS, BAD_INPUTS = 40, 25
CASES = {"fault": FAULTS, "bad_input": BAD_INPUTS}
HEADINGS = {"fault": "## The forty faults", "bad_input": "## The twenty-five bad inputs"}
# Of the tables of promises: what is promised, its bound, the tests and what was measured.
PROMISE = re.compile(r"^\| ([^|]+) \| ([^|]+) \| (`tests/[^|]+) \| ([^|]+) \|$", re.MULTILINE)


def table(kind: str) -> dict[int, str]:
    """The last column of a table of numbered cases."""
    section = PAGE.partition(HEADINGS[kind])[2].partition("\n## ")[0]
    return {int(number): tests for number, tests in ROW.findall(section)}


def defined(path: Path) -> set[str]:
    return set(DEFINED.findall(path.read_text(encoding="utf-8")))


def written(kind: str) -> Iterator[str]:
    """Every test of a numbered case that there is, with its file."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in defined(path):
            if re.match(rf"test_{kind}_\d\d_", name):
                yield f"{path.relative_to(ROOT)}::{name}"


@pytest.mark.parametrize("path", sorted({path for path, _ in TEST.findall(PAGE)}))
def test_every_test_that_the_page_names_is_there(path: str) -> None:
    named = {name for where, name in TEST.findall(PAGE) if where == path}
    assert named - defined(ROOT / path) == set()


@pytest.mark.parametrize("kind", CASES)
def test_every_case_has_a_test_of_its_number_or_the_reason_why_not(kind: str) -> None:
    rows = table(kind)
    assert sorted(rows) == list(range(1, CASES[kind] + 1))
    for number, tests in rows.items():
        names = [name for _, name in TEST.findall(tests)]
        assert names or tests.startswith(NOT_RUN), number
        assert [name for name in names if not name.startswith(f"test_{kind}_{number:02}_")] == []


@pytest.mark.parametrize("kind", CASES)
def test_every_test_of_a_case_is_on_the_page(kind: str) -> None:
    assert [test for test in written(kind) if f"`{test}`" not in PAGE] == []


def test_every_promise_has_a_bound_a_test_and_a_number() -> None:
    promises = PAGE.partition(HEADINGS["fault"])[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ") and "::" in line]
    assert len(rows) == len(PROMISE.findall(promises)) > 30
