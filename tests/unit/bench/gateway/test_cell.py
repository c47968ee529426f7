from dataclasses import replace

import pytest
from unit.bench.gateway.measured import cell

from bench.gateway import cell as cells
from bench.gateway.usage import Spent


@pytest.mark.parametrize("true_until", range(-1, 9))
def test_the_search_finds_the_last_rung_that_holds(true_until):
    assert cells.highest(9, lambda rung: rung <= true_until) == true_until


def test_the_search_of_a_long_ladder_is_short():
    asked = []
    cells.highest(123, lambda rung: asked.append(rung) or rung < 80)
    assert len(asked) <= 7


@pytest.mark.parametrize(
    ("delivered", "success", "holds"),
    [(0.99, 1.0, True), (0.98, 1.0, False), (1.0, 0.9, False), (1.0, None, False)],
)
def test_a_rate_holds_when_its_chunks_arrive_and_its_streams_end(delivered, success, holds):
    one = replace(cell("S6max", "berth", success_rate=success), delivered=delivered)
    assert cells.holds_rate(one) is holds


@pytest.mark.parametrize(
    ("seconds", "foreign", "spoiled"),
    [(5.0, 0.15, False), (5.0, 0.16, True), (4.7, 0.0, True), (5.3, 0.0, True), (5.2, 0.1, False)],
)
def test_others_spoil_a_cell_by_their_load_or_by_making_us_late(seconds, foreign, spoiled):
    assert cells.is_spoiled(Spent(seconds, {}, foreign), 5.0) is spoiled
