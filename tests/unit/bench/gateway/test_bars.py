from dataclasses import replace

from unit.bench.gateway.measured import cell

from bench.gateway import bars
from bench.gateway.report import Results

LIKES = {"berth": "vllm-router"}


def verdict(scenario, words, *cells):
    found = bars.verdicts(Results(cells, [], LIKES))
    assert {one.bar.scenario for one in found} == {scenario}
    return next(one for one in found if words in one.bar.words)


def rate(gateway, value, **load):
    return cell("S1", gateway, requests_per_second=value, **load)


def latency(gateway, p50, p99):
    return cell("S3b", gateway, ttft_p50_ms=p50, ttft_p99_ms=p99)


def test_a_bar_is_kept_at_its_limit_and_missed_below_it():
    kept = verdict("S1", "LiteLLM", rate("berth", 2_000), rate("litellm", 100))
    assert (kept.kept, kept.value) == (True, 20)
    assert not verdict("S1", "LiteLLM", rate("berth", 1_999), rate("litellm", 100)).kept


def test_a_fast_gateway_that_loses_requests_keeps_no_bar():
    lossy = rate("berth", 9_000, success_rate=0.99)
    found = verdict("S1", "LiteLLM", lossy, rate("litellm", 100))
    assert not found.kept
    assert "success 99.0 %" in str(found)


def test_without_the_peer_there_is_nothing_to_keep():
    found = verdict("S1", "LiteLLM", rate("berth", 9_000))
    assert (found.value, found.kept) == (None, False)
    assert str(found).startswith("FAIL")


def test_added_latency_is_what_the_engines_alone_do_not_have():
    found = verdict("S3b", "p50", latency("direct", 0.2, 0.9), latency("berth", 1.1, 3.5))
    assert round(found.value, 3) == 0.9
    assert found.kept
    assert (
        verdict("S3b", "p99", latency("direct", 0.2, 0.4), latency("berth", 1.1, 3.5)).kept is False
    )


def test_memory_is_judged_by_the_highest_cell_of_any_scenario():
    small, large = rate("berth", 1.0), replace(rate("berth", 1.0), peak_mb=81.0)
    assert verdict("S1", "resident", small).kept
    assert not verdict("S1", "resident", small, large).kept


def test_the_search_for_a_rate_may_cost_one_in_a_hundred():
    found = cell("S6max", "berth", chunks_per_second=61_000, success_rate=0.99)
    assert verdict("S6max", "paced", found).kept
    lossy = cell("S6max", "berth", chunks_per_second=61_000, success_rate=0.98)
    assert not verdict("S6max", "paced", lossy).kept


def test_bars_of_scenarios_that_did_not_run_are_not_judged():
    assert bars.verdicts(Results([rate("litellm", 100)], [], LIKES)) == []
