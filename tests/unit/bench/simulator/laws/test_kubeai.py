"""Vectors from substratusai/kubeai; the test that each is from stands beside it."""

import pytest

from bench.simulator.laws.kubeai import KubeAI, MovingAverage, Settings


# internal/movingaverage/simple_test.go, TestSimple
@pytest.mark.parametrize(
    ("readings", "values", "mean"),
    [
        (3, [1, 2, 3], 2),
        (3, [3, 2, 1], 2),
        (3, [3, 2, 1, 1, 1, 1], 1),
        (2, [2, 3], 2.5),
        (3, [2, 2, 2], 2),
    ],
)
def test_the_average_is_of_the_last_readings(readings, values, mean):
    average = MovingAverage([0.0] * readings)
    for value in values:
        average.add(value)
    assert average.mean() == mean


# test/integration/autoscaling_ha_test.go and autoscaler_state_test.go are end to end; these follow
# internal/modelclient/scale.go, Scale, with the defaults of 30 s delay and 10 s interval.
def test_fewer_come_after_as_many_lower_readings_as_the_delay_has_intervals():
    law = KubeAI(Settings(target_requests=10))
    assert [law.scale(1, 3) for _ in range(4)] == [3, 3, 3, 1]


def test_one_reading_that_is_not_lower_begins_the_delay_anew():
    law = KubeAI(Settings(target_requests=10))
    assert [law.scale(wanted, 3) for wanted in (1, 1, 3, 1, 1, 1, 1)] == [3, 3, 3, 3, 3, 3, 1]


def test_more_come_at_once():
    assert KubeAI(Settings(target_requests=10)).scale(5, 3) == 5
