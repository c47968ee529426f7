"""Vectors from kubernetes/kubernetes, pkg/controller/podautoscaler; each names its test."""

import pytest

from bench.simulator.laws.hpa import Behaviour, Settings, wanted_for


@pytest.mark.parametrize(
    ("replicas", "total", "target", "wanted"),
    [
        pytest.param(3, 8600, 2150, 4, id="TestReplicaCalcScaleUpPerPodCMExternal"),
        pytest.param(5, 8600, 2867, 3, id="TestReplicaCalcScaleDownPerPodCMExternal"),
        pytest.param(3, 8600, 2900, 3, id="TestReplicaCalcTolerancePerPodCMExternal"),
        pytest.param(3, 20000, 5000, 4, id="TestReplicaCalcScaleUpCMPerPodObject"),
        pytest.param(5, 6000, 2000, 3, id="TestReplicaCalcScaleDownPerPodCMObject"),
        pytest.param(4, 20166, 5000, 4, id="TestReplicaCalcTolerancePerPodCMObject"),
    ],
)
def test_a_sum_over_all_replicas(replicas, total, target, wanted):
    assert wanted_for(total, target, replicas, tolerance=0.1) == wanted


# horizontal_test.go, TestScalingWithRules; a policy that a case does not have is 0 here.
@pytest.mark.parametrize(
    ("policies", "bounds", "current", "wanted", "limited"),
    [
        pytest.param({}, (1, 1000), 10, 50, 20, id="default behavior"),
        pytest.param({}, (3, 8), 5, 7, 7, id="within range"),
        pytest.param({}, (100, 150), 100, 1000, 150, id="more than the maximum"),
        pytest.param({}, (1, 10), 20, 1000, 10, id="maximum below the scale-up limit"),
        pytest.param({"up_pods": 100}, (1, 1000), 10, 500, 110, id="pods larger than percent"),
        pytest.param({"up_pods": 2}, (1, 1000), 10, 500, 20, id="percent larger than pods"),
        pytest.param({"up_pods": 100}, (1, 1000), 10, 50, 50, id="large pods policy"),
        pytest.param({"up_percent": 10000}, (1, 1000), 10, 50, 50, id="large percent policy"),
        pytest.param({"up_pods": 30, "up_percent": 0}, (1, 1000), 10, 50, 40, id="pods limit"),
        pytest.param({"up_pods": 0, "up_percent": 200}, (1, 1000), 10, 50, 30, id="percent limit"),
        pytest.param({}, (1, 1000), 10, 0, 1, id="minimum"),
    ],
)
def test_how_much_at_once(policies, bounds, current, wanted, limited):
    least, most = bounds
    settings = Settings(target=1, min_replicas=least, max_replicas=most, **policies)
    assert Behaviour(settings).limit(0.0, wanted, current) == limited


def test_what_was_added_within_the_period_counts_against_it():
    behaviour = Behaviour(Settings(target=1, max_replicas=1000))
    assert behaviour.limit(0.0, 100, 10) == 20
    assert behaviour.limit(10.0, 100, 20) == 20
    assert behaviour.limit(15.0, 100, 20) == 40


# horizontal_test.go, TestNormalizeDesiredReplicas; the number before is not in its cases.
@pytest.mark.parametrize(
    ("earlier", "wanted"),
    [
        pytest.param([], 3, id="empty log"),
        pytest.param([(-120, 4), (-60, 5)], 5, id="stabilize"),
        pytest.param([(-120, 1), (-60, 2)], 3, id="no stabilize"),
        pytest.param([(-600, 10), (-540, 9)], 3, id="no stabilize - old recommendations"),
        pytest.param(
            [(-600, 10), (-540, 9), (-120, 4), (-60, 5)], 5, id="stabilize - old recommendations"
        ),
    ],
)
def test_down_to_the_largest_of_the_last_five_minutes(earlier, wanted):
    behaviour = Behaviour(Settings(target=1))
    for now, recommendation in earlier:
        behaviour.limit(now, recommendation, current=16)
    assert behaviour.limit(0.0, 3, current=16) == wanted


def test_never_above_what_there_is_on_the_way_down():
    behaviour = Behaviour(Settings(target=1))
    behaviour.limit(0.0, 8, 8)
    assert behaviour.limit(10.0, 2, 4) == 4
