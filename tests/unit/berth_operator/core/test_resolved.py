"""The revision's hash: of what shapes a pod, and of nothing that the gateway alone acts upon."""

import builders
import pytest
from modeldeployments import FULL

from berth_operator.core.resolved import resolve

OF_NO_POD = ("replicas", "scaling", "keepAlive", "queue", "routing", "defaults", "paused")


def hashes(**spec):
    found = resolve(builders.model_deployment(**spec))
    return found.spec_hash, found.source_hash


@pytest.mark.parametrize("field", OF_NO_POD)
def test_what_shapes_no_pod_starts_no_revision(field):
    assert hashes(**{field: FULL["spec"][field]}) == hashes()


@pytest.mark.parametrize(
    "field", ["runtime", "accelerators", "parallelism", "memory", "resources", "podTemplate"]
)
def test_what_shapes_a_pod_does(field):
    assert hashes(**{field: FULL["spec"][field]})[0] != hashes()[0]


def test_a_default_that_is_spelled_out_is_the_default():
    assert hashes(runtime={}, memory={}, podTemplate={"annotations": {}}) == hashes()


def test_hashes_are_those_of_earlier_releases():
    """Another hash would be another revision, and start every model anew."""
    assert hashes(**FULL["spec"]) == ("9322518e58", "18d3a3")
    assert hashes() == ("10e2e18711", "f07f9c")
