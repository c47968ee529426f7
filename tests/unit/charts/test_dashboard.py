"""The dashboard asks only for what the gateway and the operator really export."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import exported
import promql_parser as promql
import pytest

PATH = Path(__file__).parents[3] / "charts" / "berth" / "dashboards" / "berth.json"
DASHBOARD: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [one for one in DASHBOARD["panels"] if one["type"] != "row"]


def queries() -> Iterator[str]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = variable["query"]["query"]
            yield asked.removeprefix("label_values(").rpartition(",")[0]


def parsed(query: str) -> promql.Expr:
    """As Grafana sends it: its variables are put in first."""
    return promql.parse(query.replace("$__rate_interval", "5m"))


@pytest.fixture(scope="module")
def series() -> dict[str, set[str]]:
    return exported.series()


@pytest.mark.parametrize("query", list(queries()))
def test_a_query_asks_for_series_and_labels_that_are_exported(query: str, series: Any) -> None:
    asked = exported.selectors(parsed(query))
    assert asked
    for one in asked:
        assert one.name in series
        assert {matcher.name for matcher in one.matchers.matchers} <= series[one.name]


@pytest.mark.parametrize("query", list(queries()))
def test_a_query_groups_by_labels_that_are_exported(query: str, series: Any) -> None:
    known = set().union(*(series.get(one.name, set()) for one in exported.selectors(parsed(query))))

    def visit(node: promql.Expr) -> bool:
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= known
        return True

    promql.walk(parsed(query), visit)


def test_every_series_is_on_the_dashboard() -> None:
    asked = {one.name for query in queries() for one in exported.selectors(parsed(query))}
    shown = {(name or "").removesuffix("_bucket") for name in asked}
    assert exported.families().keys() - shown == set()


def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own() -> None:
    assert all(panel["description"] for panel in PANELS)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)
