import json

from engine_configs import engine_config

from berth_api.pool_server import EngineOrder, EngineOrders
from berth_api.server import EngineStatus, Phase, PodStatus

ORDER = EngineOrder(
    id="m-abc",
    config=engine_config(),
    key="secret",
    memory_bytes=1,
    max_queued_requests=1,
    stall_timeout_seconds=1,
    start_timeout_seconds=1,
)


def test_orders_cross_in_camel_case_with_the_key_in_them():
    told = json.loads(EngineOrders(sequence=3, engines=[ORDER]).wire())
    assert told["sequence"] == 3
    assert told["engines"][0]["memoryBytes"] == 1
    assert told["engines"][0]["key"] == "secret"


def test_a_key_is_not_shown_where_an_order_is():
    assert "secret" not in f"{ORDER} {ORDER!r} {EngineOrders(sequence=1, engines=[ORDER])}"


def test_a_dedicated_pods_status_is_read_as_before():
    told = PodStatus(phase=Phase.SERVING, engines=[EngineStatus(name="m", phase=Phase.SERVING)])
    engine = json.loads(told.wire())["engines"][0]
    assert engine.keys() == {"name", "phase", "measured", "restarts", "cards"}
    assert PodStatus.model_validate_json('{"phase": "Serving", "engines": []}').cards == []
