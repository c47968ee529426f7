"""docs/bad-inputs.md: every row has tests, and every test of a bad input has a row."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "bad-inputs.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d\d) \|(.+)\|(.+)\|(.+)\|$", re.MULTILINE)
TEST = re.compile(r"^(?:async )?def test_bad_input_(\d\d)_", re.MULTILINE)
REASON = re.compile(r"`([A-Z][A-Za-z]+)`")
# Where the tests of what is told at that stage are.
PLACES = {
    "apply": "tests/integration/test_bad_inputs.py",
    "condition": "tests/unit/berth_operator/test_bad_inputs.py",
    "gateway": "tests/unit/berth_gateway/test_bad_inputs.py",
    "start": "tests/integration/test_bad_inputs.py",
}


def source(stage: str) -> str:
    return (ROOT / PLACES[stage]).read_text(encoding="utf-8")


def test_there_are_25_rows() -> None:
    assert [row[1] for row in ROW.finditer(PAGE)] == [f"{n:02}" for n in range(1, 26)]


def test_every_row_is_tested_at_each_stage_that_it_names() -> None:
    told = {(row[1], stage) for row in ROW.finditer(PAGE) for stage in PLACES if stage in row[3]}
    tested = {stage: set(TEST.findall(source(stage))) for stage in PLACES}
    assert [one for one in sorted(told) if one[0] not in tested[one[1]]] == []
    known = {number for number, _ in told}
    assert set.union(*tested.values()) == known


def test_every_reason_of_the_page_is_asserted() -> None:
    reasons = {reason for row in ROW.finditer(PAGE) for reason in REASON.findall(row[3])}
    assert [one for one in sorted(reasons) if f'"{one}"' not in source("condition")] == []
