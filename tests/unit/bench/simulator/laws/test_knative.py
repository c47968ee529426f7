"""Vectors from knative/serving, pkg/autoscaler/scaling/autoscaler_test.go; each names its test.

Its tests give the target after utilisation, a rate limit of ten either way, panic at twice.
"""

import pytest

from bench.simulator.laws.knative import Decider, Settings


def decider(target, ready=0, **changes):
    settings = {"max_up": 10.0, "max_down": 10.0, "utilisation": 1.0} | changes
    return Decider(Settings(target, **settings), ready)


@pytest.mark.parametrize(
    ("target", "changes", "stable", "panic", "ready", "wanted"),
    [
        pytest.param(10, {}, 0, 0, 1, 0, id="AutoscalerNoDataAtZeroNoAutoscale"),
        pytest.param(181, {}, 21, 26, 1, 1, id="AutoscalerStableModeUnlimitedTBC"),
        pytest.param(10, {}, 50, 49, 1, 5, id="Autoscaler0TBC"),
        pytest.param(10, {}, 50, 50, 1, 5, id="AutoscalerStableModeNoChange"),
        pytest.param(10, {}, 50, 50, 5, 5, id="AutoscalerStableModeNoChangeAlreadyScaled"),
        pytest.param(
            1, {"max_up": 1.1}, 3, 3.1, 2, 3, id="AutoscalerStableModeIncreaseWithSmallScaleUpRate"
        ),
        pytest.param(
            10,
            {"max_down": 1.1},
            1,
            1,
            100,
            90,
            id="AutoscalerStableModeDecreaseWithSmallScaleDownRate",
        ),
        pytest.param(10, {}, 50, 100, 1, 10, id="AutoscalerPanicModeDoublePodCount"),
        pytest.param(10, {}, 1000, 1001, 1, 10, id="TestAutoscalerRateLimitScaleUp"),
        pytest.param(10, {}, 1, 1, 100, 10, id="TestAutoscalerRateLimitScaleDown"),
        pytest.param(10, {}, 1000, 888, 0, 10, id="TestAutoscalerUseOnePodAsMinimum..."),
        pytest.param(10, {}, 100, 100, 8, 10, id="TestAutoscalerStableModeDecrease, before"),
        pytest.param(10, {}, 50, 50, 8, 5, id="TestAutoscalerStableModeDecrease, after"),
        pytest.param(10, {}, 1, 0, 1, 1, id="TestAutoscalerStableModeNoTrafficScaleToZero, some"),
        pytest.param(10, {}, 0, 0, 1, 0, id="TestAutoscalerStableModeNoTrafficScaleToZero, none"),
    ],
)
def test_one_look(target, changes, stable, panic, ready, wanted):
    assert decider(target, **changes).decide(0.0, stable, panic, ready) == wanted


def test_a_panic_takes_nothing_away_and_ends_a_stable_window_later():
    # TestAutoscalerPanicThenUnPanicScaleDown
    law = decider(10)
    assert law.decide(0, 100, 100, 1) == 10
    assert law.decide(0, 100, 1000, 10) == 100
    assert law.decide(30, 1, 1, 10) == 100
    assert law.decide(61, 1, 1, 10) == 1


def test_a_slow_increase_ends_the_panic():
    # TestAutoscalerUnpanicAfterSlowIncrease
    law = decider(1)
    assert law.decide(100, 11, 25, 10) == 25
    assert law.decide(130, 30, 41, 40) == 41
    assert law.in_panic
    assert law.decide(162, 50, 56, 55) == 50
    assert not law.in_panic


def test_a_surge_extends_the_panic():
    # TestAutoscalerExtendPanicWindow
    law = decider(1)
    assert law.decide(100, 11, 25, 10) == 25
    assert law.decide(130, 30, 80, 40) == 80
    assert law.decide(162, 30, 40, 80) == 80


def test_traffic_that_multiplies_is_followed_in_a_panic():
    # TestAutoscalerPanicModeExponentialTrackAndStabilize
    law = decider(1)
    for now, load, ready in ((0, 6, 1), (1, 36, 6), (2, 216, 36), (2, 1296, 216), (3, 1296, 1296)):
        assert law.decide(now, load, load, ready) == load


def test_one_that_begins_with_several_replicas_begins_in_a_panic():
    # TestStartInPanicMode
    assert not decider(100, ready=1).in_panic
    assert decider(100, ready=2).in_panic


@pytest.mark.parametrize(
    "looks",
    [
        # TestAutoscalerScaleDownDelay, simple and gradual, in seconds
        [(2, 40, 4), (300, 0, 4), (302, 0, 0)],
        [(540, 40, 4), (600, 30, 4), (660, 0, 4), (840, 0, 3), (900, 0, 0)],
    ],
)
def test_the_largest_of_the_scale_down_delay_counts(looks):
    law = decider(10, scale_down_delay_seconds=300, panic_threshold=100)
    assert [law.decide(now, load, load, 1) for now, load, _ in looks] == [n for *_, n in looks]
