import json

import pytest
from pydantic import ValidationError

from berth_api.demand import ModelDemand


def test_what_is_not_asked_for_is_not_told() -> None:
    assert set(json.loads(ModelDemand(namespace="team", model="llama").wire())).isdisjoint(
        {"keepAliveSeconds", "idleSeconds"}
    )


def test_a_line_of_an_older_gateway_says_nothing_of_it() -> None:
    read = ModelDemand.model_validate({"namespace": "team", "model": "llama"})
    assert (read.keep_alive_seconds, read.idle_seconds) == (None, None)


def test_what_is_asked_for_crosses() -> None:
    told = ModelDemand(namespace="team", model="llama", keep_alive_seconds=-1, idle_seconds=0.5)
    assert ModelDemand.model_validate_json(told.wire()) == told


@pytest.mark.parametrize("field", ["keepAliveSeconds", "idleSeconds"])
@pytest.mark.parametrize("value", [-2, float("inf"), float("nan")])
def test_what_cannot_be_is_not_believed(field, value) -> None:
    with pytest.raises(ValidationError):
        ModelDemand.model_validate({"namespace": "team", "model": "llama", field: value})
