from bench.simulator.engine import H100, L4
from bench.simulator.measure import limit, turns
from bench.simulator.table import Line, bars, best_within


def line(name, kind, late, cost, flaps=0):
    quantities = {"late": late, "replica_seconds": cost, "turns": flaps, "requests": 100}
    return Line(name, kind, {"one": quantities})


def test_two_seconds_or_three_times_what_the_prompt_takes_alone():
    assert limit(L4, 100) == 2.0
    assert limit(H100, 30_000) == 3 * H100.alone(30_000) > 2.0


def test_a_turn_is_a_change_of_direction():
    assert turns([2, 3, 5, 5, 4, 4, 2]) == 1
    assert turns([2, 3, 2, 3]) == 2
    assert turns([4]) == 0


def test_berths_point_is_the_best_that_costs_no_more_than_the_peer():
    points = [line("a", "berth", 5, 130), line("b", "berth", 20, 99), line("c", "berth", 30, 90)]
    assert best_within(points, 100).name == "b"
    assert best_within(points, 80) is None


def test_a_bar_is_met_only_with_few_flaps():
    peer = line("KEDA+HPA", "peer", 100, 100)
    assert "| met |" in bars([peer, line("Berth, x", "berth", 25, 100)])
    assert "| missed |" in bars([peer, line("Berth, x", "berth", 25, 100, flaps=3)])
    assert "| missed |" in bars([peer, line("Berth, x", "berth", 26, 100)])
