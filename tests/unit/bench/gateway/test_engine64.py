from bench.gateway import engine64
from bench.gateway.engine64 import Pair, Run


def run(way, rate, success=1.0):
    return Run(way, rate, success, 50.0, 90.0, 0.01)


def pair(direct, through, success=1.0):
    return Pair(run("direct", direct), run("berth", through, success))


def test_the_median_pair_decides():
    assert engine64.kept([pair(100, 98), pair(100, 99), pair(100, 50)])
    assert not engine64.kept([pair(100, 97), pair(100, 99), pair(100, 50)])


def test_a_lost_request_misses_the_bar_whatever_the_speed():
    assert not engine64.kept([pair(100, 110, success=0.99)])


def test_nothing_measured_is_not_kept():
    assert not engine64.kept([])


def test_the_table_shows_both_ways_and_the_verdict():
    text = engine64.table([pair(700, 693), pair(710, 702)])
    assert "| direct | 705 [700-710] | 100 | 50 | 2 (0) |" in text
    assert "- pass: share of the direct throughput: 0.989 [0.989-0.99] (bar >= 0.98)" in text
