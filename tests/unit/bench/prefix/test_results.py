import pytest

from bench.prefix import results
from bench.prefix.play import Turn
from bench.prefix.results import Cache, Round

PAGE = """# TYPE vllm:prefix_cache_hits counter
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 300.0
vllm:prefix_cache_hits_created{engine="0",model_name="m"} 1.79e+09
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
vllm:external_prefix_cache_hits_total{engine="0",model_name="m"} 7.0
"""


def test_hits_are_the_engines_own_count_since_the_round_began():
    [found] = results.cache([PAGE])
    assert found == Cache(300, 1000)
    assert found.since(Cache(100, 200)) == Cache(200, 800)


def test_a_failed_turn_counts_against_success_and_not_for_the_times():
    turns = (Turn(0, 1.0), Turn(1, None), Turn(2, 3.0))
    one = Round(turns, (Cache(200, 800), Cache(0, 200)), seconds=2.0)
    assert one.served == [1.0, 3.0]
    assert one.hit_rate == pytest.approx(0.2)
    line = results.table({"p": [one]}).splitlines()[-1]
    assert line.startswith("| p | 1 | 3 | 66.7% | 20.0% | 2.000 |")


def test_a_quantile_is_one_of_the_values():
    values = [1.0, 2.0, 3.0, 4.0]
    assert results.quantile(values, 0.5) == 3.0
    assert results.quantile(values, 0.9) == 4.0
    assert results.quantile([5.0], 0.9) == 5.0
