import statistics

import pytest

from bench.prefix import conversations, simulated
from bench.prefix.policies import POLICIES


@pytest.fixture(scope="module")
def played():
    return simulated.rounds(4, range(100, 104), opening=True)


def test_every_turn_of_every_user_is_answered(played):
    for rounds in played.values():
        for one in rounds:
            assert len(one.served) == 4 * simulated.USERS * conversations.TURNS


def test_no_policy_finds_more_than_an_endless_cache_would_keep(played):
    most = conversations.highest_hit_rate(conversations.BLOCK_TOKENS)
    for rounds in played.values():
        for one in rounds:
            assert 0 < one.hit_rate < most + 0.05  # an answer's last token is cached here


def test_the_same_seed_gives_the_same_round():
    workload = conversations.workload(1, opening=False)
    first, second = (simulated.Play(POLICIES["PrefixAware"], workload, 2).run() for _ in range(2))
    assert first == second


def test_prefix_aware_waits_less_than_its_peers_and_misses_less(played):
    def of(name):
        waits = [first for one in played[name] for first in one.served]
        return statistics.mean(waits), statistics.mean(one.hit_rate for one in played[name])

    wait, hits = of("PrefixAware")
    for peer in ("round-robin", "LeastInFlight", "KubeAI PrefixHash"):
        assert wait < 0.8 * of(peer)[0]
        assert hits > of(peer)[1]


def test_the_table_names_every_policy(played):
    table = simulated.table(played)
    assert all(f"| {name} |" in table for name in POLICIES)
