import pytest
from modeldeployments import FULL, MINIMAL, POOLED
from pydantic import ValidationError

from berth_api.model_deployment import ModelDeployment
from berth_api.spec import Scaling, Spec


def test_a_name_and_a_source_are_enough():
    spec = ModelDeployment.model_validate(MINIMAL).spec
    assert spec.replicas == 1
    assert spec.runtime.max_model_len == "auto"
    assert spec.keep_alive is None


def test_a_queue_is_as_long_as_ollamas_unless_it_is_said_how_long():
    assert Spec.model_validate(MINIMAL["spec"]).queue.max_pending == 512


def test_a_field_of_a_newer_definition_is_ignored():
    newer = MINIMAL["spec"] | {"fieldOfTomorrow": 1}
    assert Spec.model_validate(newer) == Spec.model_validate(MINIMAL["spec"])


def test_who_stays_in_a_pool_is_unsaid_unless_it_is_said():
    alone = Spec.model_validate(MINIMAL["spec"])
    assert (alone.pool, alone.priority, alone.evictable) == (None, None, None)
    pooled = Spec.model_validate(POOLED["spec"])
    assert (pooled.pool, pooled.priority, pooled.evictable) == ("small", -5, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [("pool", "Small"), ("pool", ""), ("priority", 1_000_001), ("evictable", "perhaps")],
)
def test_what_a_pool_could_not_act_on_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        Spec.model_validate(MINIMAL["spec"] | {"pool": "small", field: value})


@pytest.mark.parametrize("example", [FULL, POOLED], ids=["full", "pooled"])
def test_what_is_written_is_read_again(example):
    spec = Spec.model_validate(example["spec"])
    assert Spec.model_validate(spec.wire()) == spec


@pytest.mark.parametrize("depth", [0, -1, 100_001, "many"])
def test_a_range_holds_in_pydantic_as_it_does_in_the_cluster(depth):
    with pytest.raises(ValidationError):
        Scaling.model_validate({"targetQueueDepth": depth})


@pytest.mark.parametrize(
    ("scaling", "sleeps"),
    [
        ({"mode": "Auto"}, True),
        ({"mode": "Auto", "minReplicas": 1}, False),
        ({"mode": "External"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_only_auto_with_no_least_lets_the_last_replica_go(scaling, sleeps):
    assert Scaling.model_validate(scaling).sleeps is sleeps
