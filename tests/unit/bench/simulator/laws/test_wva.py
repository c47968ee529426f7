"""Vectors from llm-d/llm-d-workload-variant-autoscaler, internal/saturation/analyzer_test.go."""

import pytest

from bench.simulator.fleet import Gauge
from bench.simulator.laws.wva import Analysis, Settings, analyse, target

DEFAULTS = Settings()


def gauges(*pairs):
    return [Gauge(running=10, waiting=queue, kv_use=kv) for kv, queue in pairs]


@pytest.mark.parametrize(
    ("replicas", "up"),
    [
        pytest.param([(0.75, 2), (0.76, 2)], True, id="low KV spare"),
        pytest.param([(0.50, 3), (0.50, 3)], True, id="low queue spare"),
        pytest.param([(0.50, 1), (0.50, 1)], False, id="healthy"),
    ],
)
def test_more_when_little_is_spare(replicas, up):
    # TestAnalyzeModelSaturation_ScaleUp
    assert analyse(gauges(*replicas), DEFAULTS).up is up


@pytest.mark.parametrize(
    ("replicas", "safe"),
    [
        pytest.param([(0.20, 1), (0.30, 1), (0.25, 1)], True, id="adequate headroom"),
        pytest.param([(0.70, 2), (0.75, 2)], False, id="insufficient headroom"),
        pytest.param([(0.50, 2)], False, id="only one not saturated"),
    ],
)
def test_fewer_when_the_rest_would_do(replicas, safe):
    # TestAnalyzeModelSaturation_ScaleDownSafety
    assert analyse(gauges(*replicas), DEFAULTS).down_is_safe is safe


def test_a_full_cache_or_a_long_queue_saturates():
    # TestAnalyzeVariant_SaturatedReplicas
    assert analyse(gauges((0.85, 2), (0.50, 6), (0.60, 2)), DEFAULTS).unsaturated == 1


def test_all_saturated_asks_for_more_and_never_for_fewer():
    # TestAnalyzeModelSaturation_AllSaturated
    found = analyse(gauges((0.85, 2), (0.50, 6), (0.90, 7)), DEFAULTS)
    assert found == Analysis(up=True, down_is_safe=False, unsaturated=0)


def test_no_metrics_change_nothing():
    # TestAnalyzeModelSaturation_EmptyMetrics
    assert analyse([], DEFAULTS) == Analysis(up=False, down_is_safe=False, unsaturated=0)


UP = Analysis(up=True, down_is_safe=False, unsaturated=1)
DOWN = Analysis(up=False, down_is_safe=True, unsaturated=3)


@pytest.mark.parametrize(
    ("found", "reporting", "current", "wanted"),
    [
        pytest.param(UP, 2, 2, 3, id="ScaleUpCheapest"),
        pytest.param(DOWN, 2, 2, 1, id="ScaleDownMostExpensive"),
        pytest.param(UP, 2, 4, 4, id="ModelLevelTransitionBlocking"),
        pytest.param(UP, 2, 3, 3, id="MetricsMismatchBlocksScaling"),
    ],
)
def test_by_one_and_only_at_rest(found, reporting, current, wanted):
    # TestCalculatesaturationTargets_*
    assert target(found, reporting, current) == wanted
