from dataclasses import replace

import pytest
from unit.bench.gateway.measured import cell

from bench.gateway import report
from bench.gateway.cell import Start
from bench.gateway.report import Results, Summary
from bench.gateway.scenarios import SCENARIOS, Unit

S1 = next(scenario for scenario in SCENARIOS if scenario.name == "S1")
LIKES = {"direct": None, "berth": "vllm-router", "vllm-router": None, "litellm": None}


def results(*cells):
    return Results(cells, [], LIKES)


def s1(gateway, rate, **load):
    return cell("S1", gateway, requests_per_second=rate, **load)


def test_a_summary_is_the_median_and_the_range():
    assert report.summary([3.0, 1.0, 2.0]) == Summary(2.0, 1.0, 3.0, 3)
    assert str(report.summary([1234.5, 1.0, 20_000.0])) == "1,234 [1-20,000]"


def test_what_was_not_measured_is_left_out():
    assert report.summary([None, 4.0]) == Summary(4.0, 4.0, 4.0, 1)
    assert report.summary([None]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.01234, "0.0123"), (9.876, "9.88"), (99.4, "99.4"), (43_418.4, "43,418")],
)
def test_a_figure_has_three_digits(value, text):
    assert report.figure(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(None, "-"), (1.0, "100"), (0.9999, "99.9"), (0.5321, "53.2"), (0.0, "0.0")]
)
def test_a_share_is_never_rounded_up_to_all(share, text):
    assert report.percent(share) == text


def test_a_ratio_is_between_medians_and_missing_without_either():
    assert report.ratio(report.summary([20.0]), report.summary([10.0])) == 2
    assert report.ratio(report.summary([20.0]), None) is None
    assert report.ratio(report.summary([20.0]), report.summary([0.0])) is None


def test_a_row_stands_beside_the_engines_the_like_peer_and_litellm():
    found = results(
        s1("direct", 40_000), s1("vllm-router", 10_000), s1("berth", 8_000), s1("litellm", 80)
    )
    row = next(line for line in report.table(found, S1).splitlines() if line.startswith("| berth"))
    assert [part.strip() for part in row.split("|")][3:8] == ["100", "0.2", "0.8", "100", "62.5"]


def test_cpu_time_is_shared_among_what_came_through():
    one = cell("S2", "berth", requests_per_second=100.0, chunks_per_second=50_000.0)
    assert report.cpu_us(Unit.REQUEST)(one) == pytest.approx(5_000)
    assert report.cpu_us(Unit.CHUNK)(one) == pytest.approx(10)


def test_cpu_time_of_nothing_is_not_a_number():
    assert report.cpu_us(Unit.REQUEST)(s1("litellm", 0.0)) is None
    assert report.cpu_us(Unit.REQUEST)(s1("direct", 100.0)) is None


def test_the_worst_repeat_stands_for_success():
    cells = [s1("berth", 1.0, success_rate=1.0), s1("berth", 1.0, success_rate=0.8)]
    assert report.lowest_success(cells) == 0.8
    assert report.lowest_success([s1("berth", 1.0, success_rate=None)]) is None


def test_a_gateway_that_answered_nothing_has_a_row_all_the_same():
    found = results(s1("litellm", None, success_rate=None))
    assert "| litellm | none | - |" in report.table(found, S1)


def test_a_load_side_that_may_be_the_limit_has_a_star():
    assert "| 0.50 / 0.50 / 0.05 |" in report.table(results(s1("berth", 1.0)), S1)
    busy = replace(s1("berth", 1.0), mock_cores=0.5, load_cores=0.45)
    assert "| 0.50 / 0.95* / 0.05 |" in report.table(results(busy), S1)


def test_spoiled_cells_are_counted():
    found = results(s1("berth", 1.0), replace(s1("berth", 2.0), spoiled=True))
    assert report.table(found, S1).endswith("| 2 (1) |")


def test_only_scenarios_that_ran_have_a_table():
    text = report.tables(results(s1("berth", 1.0)))
    assert "### S1" in text
    assert "### S2" not in text


def test_memory_is_the_highest_of_all_cells():
    found = Results(
        [s1("berth", 1.0), replace(s1("berth", 1.0), peak_mb=75.4)],
        [Start("berth", 0.5, 55.0, 0.0)],
        LIKES,
    )
    assert "| berth | 0.5 [0.5-0.5] | 55 [55-55] | 75.4 | 1 |" in report.start_table(found)
