from math import inf

import pytest

from bench.simulator.engine import H100, L4, Replica, Request


def run(engine, requests, until=10_000.0):
    """One replica, alone, until it has nothing left to do."""
    replica = Replica(engine, 0.0)
    waiting = sorted(requests, key=lambda r: r.arrived)
    while waiting or replica.due < inf:
        if waiting and waiting[0].arrived <= replica.due:
            replica.take(waiting[0].arrived, waiting.pop(0))
        elif replica.due > until:
            break
        else:
            replica.work(replica.due)
    return replica


def test_alone_a_request_takes_its_prompt_and_a_step_for_each_token():
    request = Request(5.0, 1_000, 101)
    run(L4, [request])
    kv = L4.kv_seconds * 1_101
    assert request.first - 5.0 == pytest.approx(L4.alone(1_000) + kv, rel=0.02)
    assert request.finished - request.first == pytest.approx(100 * (L4.step_seconds + kv), rel=0.01)


def test_decoding_together_costs_little_more_than_alone():
    requests = [Request(0.0, 10, 200) for _ in range(16)]
    run(L4, requests)
    last = max(r.finished for r in requests)
    assert last < 1.5 * (200 * L4.step_seconds)


def test_a_long_prompt_delays_the_prompt_behind_it():
    long, short = Request(0.0, 30_000, 10), Request(0.1, 100, 10)
    run(H100, [long, short])
    assert short.first > long.first


def test_prompts_that_do_not_fit_in_the_cache_wait_for_an_answer_to_end():
    first = [Request(0.0, 60_000, 100) for _ in range(3)]
    late = Request(0.1, 60_000, 100)
    run(L4, [*first, late])
    assert late.first > min(r.finished for r in first)


def test_no_more_run_at_once_than_there_are_seats():
    replica = Replica(L4, 0.0)
    for _ in range(L4.max_num_seqs + 50):
        replica.take(0.0, Request(0.0, 10, 400))
    most = 0
    while replica.due < inf:
        replica.work(replica.due)
        most = max(most, len(replica.running))
    assert most == L4.max_num_seqs


@pytest.mark.parametrize(
    ("cached", "rate", "token_seconds"),
    [
        pytest.param(1 / 3, 6.31, 0.189, id="least load, a third cached"),
        pytest.param(2 / 3, 9.55, 0.087, id="prefix routing, two thirds cached"),
    ],
)
def test_the_l4_is_near_what_kubeai_publishes(cached, rate, token_seconds):
    # 100 at once, 832 tokens in and 76 out; how much is cached is a guess.
    replica = Replica(L4, 0.0)
    prompt = round(832 * (1 - cached))
    ended: list[Request] = []
    for _ in range(100):
        replica.take(0.0, Request(0.0, prompt, 76))
    while len(ended) < 1_000:
        now = replica.due
        for one in replica.work(now):
            ended.append(one)
            replica.take(now, Request(now, prompt, 76))
    settled = ended[300:]
    span = settled[-1].finished - settled[0].finished
    assert len(settled) / span == pytest.approx(rate, rel=0.1)
    each = sum((r.finished - r.first) / 75 for r in settled) / len(settled)
    assert each == pytest.approx(token_seconds, rel=0.2)
