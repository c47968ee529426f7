"""A pool of two cards, and orders for it."""

from engine_configs import engine_config

from berth_api.pool_server import EngineOrder, PoolConfig

GIB = 2**30
KEY = "a-secret-that-no-error-repeats"
POOL = PoolConfig(
    namespace="a",
    pool="p",
    device="cuda",
    cards=2,
    command=["vllm", "serve"],
    status_port=8090,
    pool_key_file="/key",
    drain_timeout_seconds=1,
)


def order(name="one", *, gib=4, cards=(0,), attempt=0, **config) -> EngineOrder:
    values = {"name": name, "port": 8001, "tensor_parallel_size": len(cards) or 1}
    return EngineOrder(
        id=name,
        attempt=attempt,
        config=engine_config(**(values | config)),
        key=KEY,
        cards=list(cards),
        memory_bytes=gib * GIB,
        max_queued_requests=8,
        stall_timeout_seconds=60,
        start_timeout_seconds=60,
    )
