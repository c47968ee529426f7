from typing import Any

import builders
import pooled
import pytest

from berth_api.quantity import parse_bytes
from berth_api.shape import Failure
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.pools import cards, pool
from berth_operator.core.pools.pool import ResolvedPool

GIB = pooled.GIB


def resolved(**spec: Any) -> ResolvedPool:
    return pool.resolve(pooled.pool_cr(**spec))


def offered(**spec: Any) -> Offer:
    found = cards.offer(resolved(**spec), builders.configured(), ())
    assert isinstance(found, Offer)
    return found


def refused(**spec: Any) -> Failure:
    found = cards.offer(resolved(**spec), builders.configured(), ())
    assert isinstance(found, Failure)
    return found


def test_a_pod_has_as_many_cards_as_it_asks_for() -> None:
    found = offered(accelerator={"profile": "h100", "gpusPerPod": 2})
    (one, other) = cards.room(found)
    assert one == other < 80 * GIB
    assert cards.room(offered()) == (one,)


def test_models_share_what_the_driver_leaves_of_a_card() -> None:
    found = offered()
    assert cards.room(found) == (int(found.memory_bytes * cards.DEFAULT_GPU_FRACTION),)


def test_on_cpu_models_share_the_pods_memory_but_for_its_own() -> None:
    cpu = {"accelerator": {"profile": "cpu"}, "resources": {"memory": "12Gi"}}
    found = offered(**cpu)
    assert cards.room(found) == (12 * GIB - cards.OWN_BYTES,)
    assert cards.pod_memory_bytes(resolved(**cpu), found) == 12 * GIB


def test_a_pod_on_gpus_asks_for_host_memory_for_each_card() -> None:
    one, two = ({"accelerator": {"profile": "h100", "gpusPerPod": count}} for count in (1, 2))
    asked = [cards.pod_memory_bytes(resolved(**spec), offered(**spec)) for spec in (one, two)]
    assert asked[1] - asked[0] == cards.GPU_HOST_BYTES
    said = one | {"resources": {"memory": "20Gi"}}
    assert cards.pod_memory_bytes(resolved(**said), offered(**said)) == parse_bytes("20Gi")


@pytest.mark.parametrize(
    ("spec", "field", "fix"),
    [
        ({"accelerator": {"profile": "a100"}}, "spec.accelerator.profile", "cpu, h100"),
        ({"accelerator": {"profile": "h100", "gpusPerPod": 4}}, "gpusPerPod 4", "at most 2"),
        (
            {"accelerator": {"profile": "cpu"}, "resources": {"memory": "1Gi"}},
            "spec.resources.memory 1024Mi",
            "at least 3072Mi",
        ),
    ],
)
def test_what_cannot_be_names_its_field_and_a_fix(
    spec: dict[str, Any], field: str, fix: str
) -> None:
    found = refused(**spec)
    assert field in found.message
    assert fix in found.fix
    assert "spec.accelerators" not in found.message + found.fix
