import pytest
from unit.bench.gateway.measured import cell

from bench.gateway import scenarios
from bench.gateway.scenarios import SCENARIOS

SEARCH = next(scenario for scenario in SCENARIOS if scenario.search)


@pytest.mark.parametrize("rate", [2_000.0, 60_000.0, 200_000.0])
def test_a_paced_cell_offers_the_rate_asked_for(rate):
    paced = scenarios.paced(SEARCH, rate)
    assert paced.offered_chunks == pytest.approx(rate, rel=0.1)
    assert not paced.search


def test_streams_of_a_paced_cell_last_alike_whatever_the_rate():
    for rate in (2_000.0, 60_000.0):
        paced = scenarios.paced(SEARCH, rate)
        chunks = int(paced.load[-1].removeprefix("--chunks="))
        assert chunks * paced.gap_us / 1e6 == pytest.approx(3, rel=0.05)


def test_the_ladder_climbs_by_one_step_from_the_lowest_to_the_highest():
    ladder = scenarios.rates()
    assert ladder[0] == scenarios.SEARCH_LOWEST
    assert ladder[-1] <= scenarios.SEARCH_HIGHEST < ladder[-1] * scenarios.SEARCH_STEP
    assert ladder[1] / ladder[0] == pytest.approx(scenarios.SEARCH_STEP)


def test_delivery_is_what_arrived_of_what_the_pace_gives():
    paced = scenarios.paced(SEARCH, 50_000.0)
    arrived = cell("S6max", "berth", chunks_per_second=paced.offered_chunks / 2)
    assert scenarios.delivered(paced, arrived.load) == 0.5


def test_without_a_pace_nothing_can_be_missing():
    unpaced = next(scenario for scenario in SCENARIOS if scenario.name == "S1")
    assert scenarios.delivered(unpaced, cell("S1", "berth").load) is None


def test_a_stream_offers_its_chunks_in_one_gap_less():
    paced = scenarios.paced(SEARCH, scenarios.S6_STREAMS / 0.5)
    chunks = int(paced.load[-1].removeprefix("--chunks="))
    seconds = (chunks - 1) * paced.gap_us / 1e6
    assert paced.offered_chunks == pytest.approx(scenarios.S6_STREAMS * chunks / seconds)
