import random

import pytest

from bench.engine.fit import Row, Singular, costs


def rows(truth, count=30, noise=0.0):
    dice = random.Random(1)
    made = []
    for _ in range(count):
        counts = (1.0, dice.uniform(0, 2000), dice.uniform(1, 32), dice.uniform(0, 1e6))
        seconds = sum(a * b for a, b in zip(counts, truth, strict=True))
        made.append(Row(counts, seconds * (1 + dice.uniform(-noise, noise))))
    return made


def test_costs_are_found_again_from_times_made_of_them():
    truth = (0.05, 0.003, 0.005, 2e-6)
    assert costs(rows(truth)) == pytest.approx(truth)


def test_noise_in_the_times_hardly_moves_what_the_costs_foretell():
    truth = (0.05, 0.003, 0.005, 2e-6)
    found = costs(rows(truth, count=300, noise=0.1))
    for row in rows(truth):
        foretold = sum(a * b for a, b in zip(row.counts, found, strict=True))
        assert foretold == pytest.approx(row.seconds, rel=0.05)


def test_a_cost_that_would_be_negative_is_nothing():
    found = costs(rows((0.05, 0.003, -0.0005, 2e-6)))
    assert found[2] == 0
    assert all(cost >= 0 for cost in found)


def test_a_cost_that_no_row_tells_apart_is_an_error():
    with pytest.raises(Singular):
        costs([Row((1.0, 2.0), 1.0), Row((2.0, 4.0), 2.0)])
