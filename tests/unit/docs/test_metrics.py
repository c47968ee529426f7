"""docs/metrics.md names every series that there is, and no other; its alerts ask for those."""

import re
from pathlib import Path

import exported
import promql_parser as promql
import pytest
import yaml

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(berth_\w+)` \|([^|]*)\|", re.MULTILINE)
BLOCK = re.compile(r"(?<=^```yaml\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)


def alerts() -> list[str]:
    documents = (yaml.safe_load(block) for block in BLOCK.findall(PAGE))
    (rules,) = (one for one in documents if one.get("kind") == "PrometheusRule")
    return [rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]]


def test_the_tables_have_every_series_with_its_labels() -> None:
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in ROW.findall(PAGE)}
    assert told == exported.families()


@pytest.mark.parametrize("query", alerts())
def test_an_alert_asks_for_series_and_labels_that_are_exported(query: str) -> None:
    series = exported.series()
    asked = exported.selectors(promql.parse(query))
    assert asked
    for one in asked:
        assert {matcher.name for matcher in one.matchers.matchers} <= series[one.name or ""]
