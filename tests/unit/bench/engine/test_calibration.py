import random

import pytest

from bench.engine import __main__ as calibration
from bench.engine import fit, load
from bench.engine.load import Outcome, Request
from standins.engine_steps import Asked, Costs, Limits, Scheduler

TRUTH = Costs(step=0.05, prefill_token=0.003, sequence=0.002, read_token=1e-6, attended=2e-6)
FRONT = 0.01


def served(requests):
    """What a perfect clock would see of the step model with these costs."""
    scheduler = Scheduler(Limits(), TRUTH)
    asked = [Asked(len(one.prompt), one.output) for one in requests]
    for one in asked:
        scheduler.add(one)
    events = {id(one): [] for one in asked}
    now = FRONT
    while step := scheduler.step():
        now += step.seconds
        for one in step.emitted:
            events[id(one)].append(now)
    return [Outcome(tuple(events[id(one)]), one.output) for one in asked]


async def test_the_probes_of_a_step_model_give_its_costs_back(monkeypatch):
    async def burst(_url, requests):
        return served(requests)

    monkeypatch.setattr(load, "burst", burst)
    found = calibration.Costs(*fit.costs(await calibration.probe("", random.Random(1))))
    assert found.front == pytest.approx(FRONT, rel=0.05)
    assert found.step == pytest.approx(TRUTH.step, rel=0.02)
    assert found.prefill_token == pytest.approx(TRUTH.prefill_token, rel=0.02)
    assert found.sequence == pytest.approx(TRUTH.sequence, rel=0.05)
    assert found.attended == pytest.approx(TRUTH.attended, rel=0.05)


def test_both_engines_get_the_same_bursts_and_a_third_of_them_share_prefixes():
    one, other = calibration.bursts(0), calibration.bursts(0)
    assert one == other
    asked = [request for waves in one.values() for wave in waves for request in wave]
    shared = [request for request in asked if request.shared]
    assert len(asked) / 3 < len(shared) < len(asked) / 2
    assert {len(wave) for wave in one[16]} == {16}
    longest = calibration.FLAGS.max_model_len
    assert all(len(request.prompt) + request.output <= longest for request in asked)


def test_a_repeat_has_the_same_lengths_and_no_prompt_of_the_last():
    one, other = (calibration.bursts(repeat)[32][0] for repeat in (0, 1))
    assert [len(request.prompt) for request in one] == [len(request.prompt) for request in other]
    assert [request.output for request in one] == [request.output for request in other]
    assert not {request.prompt[:8] for request in one} & {request.prompt[:8] for request in other}


def test_of_all_repeats_the_fastest_counts_and_a_failure_is_never_hidden():
    slow, fast, failed = Outcome((1.0, 4.0), 2), Outcome((2.0, 3.0), 2), Outcome(())
    assert calibration.fastest([[slow, slow], [fast, failed]]) == [fast, failed]
    rows = [fit.Row((1.0,), 3.0), fit.Row((2.0,), 5.0), fit.Row((1.0,), 2.0)]
    assert calibration.fastest_rows(rows) == [fit.Row((1.0,), 2.0), fit.Row((2.0,), 5.0)]


def test_an_error_is_relative_and_of_requests_that_both_have_served():
    real = [Outcome((1.0, 2.0), 2), Outcome((1.0, 4.0), 2), Outcome(())]
    copied = [Outcome((1.1, 2.0), 2), Outcome(()), Outcome((1.0,), 1)]
    assert calibration.errors(real, copied, lambda one: one.first) == pytest.approx([0.1])


def test_a_prompt_has_as_many_tokens_as_were_asked_for():
    assert len(load.prompt(random.Random(1), 77)) == 77
    assert Request((1, 2), 3).shared == 0
